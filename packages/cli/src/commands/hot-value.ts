import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { EQUAL_WEIGHTS, fitHotValueFiles, HotValueError, parseModel, readRows, scoreRow, serializeModel, validateWeights, writeScores, type RejectedRow, type Weights } from "@dramascope/hot-value";
import { writeFileAtomically, writeJsonl } from "@dramascope/schema";
import { Command } from "commander";
import { defineCommand, usageError, type CliIo, type SetExitCode } from "../context.ts";

async function readWeights(given: string): Promise<Weights> {
  return given === "equal" ? { ...EQUAL_WEIGHTS } : validateWeights(JSON.parse(await readFile(given, "utf8")));
}

/** Last date of the input, for `--as-of`. */
async function lastDate(paths: readonly string[]): Promise<string> {
  let last = "";
  for (const path of paths) for await (const item of readRows(path)) if ("row" in item && item.row.date > last) last = item.row.date;
  if (last === "") throw usageError("the input holds no usable row, so there is no last date", "Give --as-of DATE.");
  return last;
}

async function writeRejected(out: string, rejected: readonly RejectedRow[]): Promise<void> {
  if (rejected.length > 0) await writeJsonl(join(dirname(out), "rejected.jsonl"), rejected);
}

/** `dramascope hot-value fit|score` */
export function addHotValue(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  const group = new Command("hot-value").description("nine audience indicators become a hot value and a class 1 to 5");
  defineCommand<{ model: string; out: string; weights?: string; asOf?: string; reference: "per-date" | "pooled"; onSmallCohort: "error" | "drop" | "allow" }>(group, io, setExitCode, {
    name: "fit",
    summary: "fit a model on a population and label its dramas",
    example: "dramascope hot-value fit rows.csv.gz --weights equal --model model.json --out labels.jsonl",
    configure: (command) =>
      command
        .argument("<input...>", "CSV or JSONL files, .gz accepted")
        .requiredOption("--model <file>", "where the model goes")
        .requiredOption("--out <file>", "where the labels go, .csv or .jsonl")
        .option("--weights <file>", "JSON with nine weights, or the word equal")
        .option("--as-of <date>", "day of the fit; default the last date of the input")
        .option("--reference <mode>", "per-date or pooled", "per-date")
        .option("--on-small-cohort <what>", "error, drop or allow", "error"),
    run: async ({ say }, options, inputs) => {
      if (options.weights === undefined) throw usageError("--weights is missing: the published method names none", "Give --weights FILE with nine numbers that sum to 1, or --weights equal.");
      const asOf = options.asOf ?? (await lastDate(inputs));
      say(`fitting as of ${asOf}`);
      const fit = await fitHotValueFiles(inputs, { weights: await readWeights(options.weights), asOf, reference: options.reference, onSmallCohort: options.onSmallCohort });
      await writeFileAtomically(options.model, serializeModel(fit.model));
      await writeScores(options.out, fit.labels.map(({ rows: _rows, ...label }) => ({ ...label, modelHash: fit.model.modelHash })));
      await writeRejected(options.out, fit.rejected);
      for (const { code, message } of fit.report.warnings) say(`warning ${code}: ${message}`);
      say(`${fit.report.dramas} dramas, classes ${fit.report.classSizes.join(" ")}, ${fit.rejected.length} lines rejected`);
      return { json: { model: options.model, out: options.out, modelHash: fit.model.modelHash, report: fit.report, rejected: fit.rejected.length } };
    },
  });
  defineCommand<{ model: string; out: string }>(group, io, setExitCode, {
    name: "score",
    summary: "score rows with a frozen model",
    example: "dramascope hot-value score new.csv --model model.json --out scores.csv",
    configure: (command) => command.argument("<input...>", "CSV or JSONL files, .gz accepted").requiredOption("--model <file>", "a model that fit wrote").requiredOption("--out <file>", "where the scores go, .csv or .jsonl"),
    run: async ({ say }, options, inputs) => {
      const model = parseModel(JSON.parse(await readFile(options.model, "utf8").catch((error: unknown) => {
        throw new HotValueError(`${options.model} cannot be read`, { code: "MODEL_INVALID", cause: error, hint: "Check the path." });
      })));
      const scores = [];
      const rejected: RejectedRow[] = [];
      for (const path of inputs) for await (const item of readRows(path)) {
        if ("row" in item) scores.push({ ...scoreRow(model, item.row), modelHash: model.modelHash });
        else rejected.push(item.rejected);
      }
      await writeScores(options.out, scores);
      await writeRejected(options.out, rejected);
      say(`${scores.length} rows scored, ${rejected.length} lines rejected`);
      return { json: { out: options.out, rows: scores.length, rejected: rejected.length } };
    },
  });
  program.addCommand(group);
}
