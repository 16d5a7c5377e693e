import {
  applyCalibration, calibrationTable, compareIds, crossFit, fitCalibration, nameCalibration, parseCalibration, readFranchises, readPredictions, readTargets, readTruth, scoreOf, withinClasses,
  type Calibration,
} from "@dramascope/evaluation";
import { DramascopeError, openBytes, writeFileAtomically, writeJsonl } from "@dramascope/schema";
import { Command } from "commander";
import { defineCommand, parseCount, usageError, type CliIo, type CommandContext, type SetExitCode } from "../context.ts";
import { CliError } from "../errors.ts";

interface FitOptions {
  predictions: string;
  truth?: string;
  target?: string;
  method: string;
  groups?: string;
  folds: string;
  out: string;
}

const METHODS = ["isotonic", "affine", "table"] as const;
type Method = (typeof METHODS)[number];
const isMethod = (text: string): text is Method => METHODS.includes(text as Method);

/** Scores and targets of the items that have both, in the order that evaluate takes them in. */
interface Pairs {
  ids: string[];
  x: number[];
  y: number[];
}

async function readPairs({ predictions, truth, target }: FitOptions, { say }: CommandContext): Promise<Pairs> {
  if ((truth === undefined) === (target === undefined)) throw usageError("calibrate fit wants either --truth or --target", "Give --truth for true classes, or --target for other values such as click rates.");
  const targets = truth === undefined ? await readTargets(target!) : await readTruth(truth, { onWarning: (sentence) => say(`warning: ${sentence}`) });
  const scores = await readPredictions(predictions);
  const ids = [...targets.keys()].filter((id) => (scores.get(id) ?? null) !== null).sort(compareIds);
  if (ids.length === 0) throw new CliError(`no id of ${predictions} has a target`, { code: "NO_OVERLAP", hint: "Check that both files use the same ids." });
  return { ids, x: ids.map((id) => scoreOf(scores.get(id)!)), y: ids.map((id) => targets.get(id)!) };
}

/** Franchise of each item, if a file names them; an item without one is its own. */
async function readGroups(path: string | undefined, ids: readonly string[]): Promise<string[] | undefined> {
  if (path === undefined) return undefined;
  const franchises = await readFranchises(path);
  if (franchises.size === 0) throw new CliError(`${path} names no franchiseId`, { code: "GROUPS_MISSING", hint: "Give JSONL with dramaId and franchiseId." });
  return ids.map((id) => (franchises.has(id) ? `group ${franchises.get(id)!}` : `item ${id}`));
}

const squared = (values: readonly number[], targets: readonly number[]): number => values.reduce((sum, value, i) => sum + (value - targets[i]!) ** 2, 0) / values.length;

/** A calibration of predictions from a file. */
async function readCalibration(path: string): Promise<ReturnType<typeof parseCalibration>> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of openBytes(path)) chunks.push(chunk as Uint8Array);
    return parseCalibration(JSON.parse(new TextDecoder().decode(Buffer.concat(chunks))), path);
  } catch (error) {
    if (DramascopeError.isInstance(error)) throw error;
    throw new CliError(`${path} cannot be read: ${(error as Error).message}`, { code: "CALIBRATION_INVALID", cause: error, hint: "Give a file that calibrate fit wrote." });
  }
}

/** `dramascope calibrate fit|apply` */
export function addCalibrate(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  const group = new Command("calibrate").description("scores become expected classes, or a feature of a ranker");
  defineCommand<FitOptions>(group, io, setExitCode, {
    name: "fit",
    summary: "fit a calibration, and judge it on held-out folds",
    example: "dramascope calibrate fit --predictions assessments.jsonl --truth labels.jsonl --out calibration.json",
    configure: (command) =>
      command
        .requiredOption("--predictions <file>", "scores: JSON object of ids, or JSONL of assessments")
        .option("--truth <file>", "true classes: JSON object of ids, or JSONL with dramaId and quality")
        .option("--target <file>", "other values: JSON object of ids, or JSONL with dramaId and target")
        .option("--method <name>", "isotonic, affine, or table (isotonic for at most five scores, to be looked up)", "isotonic")
        .option("--groups <file>", "JSONL with dramaId and franchiseId: a franchise stays in one fold")
        .option("--folds <n>", "folds of the held-out figures", "5")
        .requiredOption("--out <file>", "where the calibration goes"),
    run: async (context, options) => {
      const { seed = 0 } = context;
      const { method } = options;
      if (!isMethod(method)) throw usageError(`--method ${method} is unknown`, `Use ${METHODS.join(", ")}.`);
      const folds = parseCount("--folds", options.folds);
      if (folds < 2) throw usageError(`--folds wants at least 2, got ${folds}`);
      const { ids, x, y } = await readPairs(options, context);
      const groups = await readGroups(options.groups, ids);
      const curve = method === "affine" ? "affine" : "isotonic";
      const model: Calibration = method === "table" ? calibrationTable(fitCalibration(curve, { x, y }), x) : fitCalibration(curve, { x, y });
      const target = options.truth === undefined ? "values" : "classes";
      const { values } = crossFit(curve, { x, y, folds, seed, groups });
      const heldOut = squared(target === "classes" ? values.map(withinClasses) : values, y);
      const file = nameCalibration(model, { dataIds: ids, options: { method, target } });
      await writeFileAtomically(options.out, `${JSON.stringify(file, null, 2)}\n`);
      const before = target === "classes" ? { mseBefore: squared(x, y) } : {};
      const lines = [
        `calibration ${file.calibrationId}, ${method}, n = ${ids.length}`,
        ...(target === "classes" ? [`mse before  ${squared(x, y).toPrecision(4)}, n = ${ids.length}`] : []),
        `mse after   ${heldOut.toPrecision(4)} on ${folds} held-out folds, n = ${ids.length}`,
      ];
      return { json: { out: options.out, calibrationId: file.calibrationId, method, n: ids.length, folds, ...before, mseHeldOut: heldOut }, text: `${lines.join("\n")}\n` };
    },
  });
  defineCommand<{ model: string; predictions: string; out: string }>(group, io, setExitCode, {
    name: "apply",
    summary: "turn scores by a calibration",
    example: "dramascope calibrate apply --model calibration.json --predictions assessments.jsonl --out calibrated.jsonl",
    configure: (command) =>
      command
        .requiredOption("--model <file>", "a calibration that fit wrote")
        .requiredOption("--predictions <file>", "scores: JSON object of ids, or JSONL of assessments")
        .requiredOption("--out <file>", "JSONL with dramaId, score (or target), rawScore and calibrationId"),
    run: async ({ say }, options) => {
      const { calibrationId, model, fit } = await readCalibration(options.model);
      const predictions = await readPredictions(options.predictions);
      const field = fit.options["target"] === "values" ? "target" : "score";
      const records = [...predictions].map(([dramaId, prediction]) => {
        const rawScore = prediction === null ? null : scoreOf(prediction);
        const value = rawScore === null ? null : applyCalibration(model, rawScore);
        return { dramaId, [field]: value !== null && field === "score" ? withinClasses(value) : value, rawScore, calibrationId, ...(value === null && { reason: "no-prediction" }) };
      });
      await writeJsonl(options.out, records);
      const missing = records.filter(({ rawScore }) => rawScore === null).length;
      say(`${records.length - missing} scores calibrated by ${calibrationId}, ${missing} without a prediction`);
      return { json: { out: options.out, calibrationId, items: records.length, missing } };
    },
  });
  program.addCommand(group);
}
