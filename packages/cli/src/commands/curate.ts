import { dirname, join, relative, resolve } from "node:path";
import { CurationError, estimate, exportSets, folderName, funnelOf, openSqliteLedger, parseCurationConfig, readOutcomes, runCuration, type CurationConfig, type LabelledDrama } from "@dramascope/curation";
import { drama, hotValueRecord, readJsonl, writeJsonl, type Drama, type Quality, type RejectedLine } from "@dramascope/schema";
import { encodeJpegs, extractFrames, readFrames, type PlanOptions } from "@dramascope/video";
import { Command } from "commander";
import { z } from "zod";
import { defineCommand, parseAmount, type CliIo, type CommandContext, type SetExitCode } from "../context.ts";
import { CliError } from "../errors.ts";
import { readConfig, textSetting } from "../model.ts";

const tokens = z.int().positive().optional();

/** Setting `frames`: how many frames, and how large. */
const framePlan = z.strictObject({ tokenBudget: tokens, floorPairTokens: tokens, maxPairTokens: tokens, minFrameTokens: tokens, maxFramesPerEpisode: tokens, maxSecondsPerEpisode: z.number().positive().optional() });

interface Project {
  config: CurationConfig;
  dramas: LabelledDrama[];
  /** Folder of ledger, frames and exports. */
  workdir: string;
  withoutLabel: number;
  framePlan: PlanOptions;
}

async function openProject(path: string, context: CommandContext, maxCost: string | undefined): Promise<Project> {
  const here = dirname(resolve(path));
  const { dramas: dramasFile, labels: labelsFile, workdir: workdirSetting, frames = {}, ...rest } = await readConfig(path);
  const at = (name: string, value: unknown): string => resolve(here, textSetting({ [name]: value }, name, path));
  const config = parseCurationConfig(rest);
  for (const [id, file] of Object.entries(config.prompts)) config.prompts[id as keyof typeof config.prompts] = resolve(here, file);
  if (maxCost !== undefined) config.budget.maxCost = parseAmount("--max-cost", maxCost);
  const plan = framePlan.safeParse(frames);
  if (!plan.success) throw new CliError(`${path}: frames: ${z.prettifyError(plan.error)}`, { code: "CONFIG_INVALID", hint: `Known settings are ${Object.keys(framePlan.shape).join(", ")}.` });
  const workdir = at("workdir", workdirSetting);
  const rejected: RejectedLine[] = [];
  const onRejected = (line: RejectedLine): void => void rejected.push(line);
  const labels = new Map<string, Quality>();
  for await (const { dramaId, quality } of readJsonl(at("labels", labelsFile), hotValueRecord, { onRejected })) if (quality !== null) labels.set(dramaId, quality);
  const dramas: LabelledDrama[] = [];
  let withoutLabel = 0;
  const folder = dirname(at("dramas", dramasFile));
  for await (const one of readJsonl(at("dramas", dramasFile), drama, { onRejected })) {
    const quality = labels.get(one.dramaId);
    if (quality === undefined) withoutLabel++;
    else dramas.push({ quality, drama: { ...one, episodes: one.episodes.map((episode) => ({ ...episode, ...(episode.path === undefined ? {} : { path: resolve(folder, episode.path) }) })) } });
  }
  if (rejected.length > 0) {
    await writeJsonl(join(workdir, "rejected.jsonl"), rejected);
    context.say(`${rejected.length} bad lines are listed in ${join(workdir, "rejected.jsonl")}`);
  }
  if (withoutLabel > 0) context.say(`${withoutLabel} dramas have no class and are left out`);
  return { config, dramas, workdir, withoutLabel, framePlan: plan.data as PlanOptions };
}

const framesFolder = (workdir: string, one: Drama): string => join(workdir, "frames", folderName(one.dramaId));

/** JPEGs of an episode: extracted once, then read from the work folder. */
function pictureLoader({ workdir, framePlan: plan }: Project, context: CommandContext): (one: Drama, episode: number) => Promise<Uint8Array[]> {
  const running = new Map<string, Promise<unknown>>();
  const extract = (one: Drama): Promise<unknown> => {
    let work = running.get(one.dramaId);
    if (!work) {
      const episodes = one.episodes.slice(0, 5).flatMap(({ path }) => (path === undefined ? [] : [{ path }]));
      work = episodes.length === 0 ? Promise.resolve() : extractFrames(episodes, { plan, out: framesFolder(workdir, one), signal: context.signal });
      running.set(one.dramaId, work);
    }
    return work;
  };
  return async (one, episode) => {
    const manifest = join(framesFolder(workdir, one), String(episode), "manifest.json");
    const ready = await readFrames(manifest).catch(() => undefined);
    if (ready) return encodeJpegs(ready);
    await extract(one);
    return one.episodes[episode - 1]?.path === undefined ? [] : encodeJpegs(await readFrames(manifest));
  };
}

interface CurateOptions {
  config: string;
  maxCost?: string;
  out?: string;
}

/** `dramascope curate plan|run|status|export` */
export function addCurate(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  const group = new Command("curate").description("teacher captions, chains of thought and filters in a durable ledger");
  const withConfig = (command: Command): Command =>
    command.requiredOption("--config <file>", "YAML: dramas, labels, workdir, teacher and the curation's settings").option("--max-cost <amount>", "no call is started that could bring the spending above this");

  defineCommand<CurateOptions>(group, io, setExitCode, {
    name: "plan",
    summary: "calls and money of a run; asks nobody",
    example: "dramascope curate plan --config curate.yaml",
    configure: withConfig,
    run: async (context, options) => {
      const project = await openProject(options.config, context, options.maxCost);
      const plan = estimate(project);
      return { json: { ...plan }, text: `dramas  SFT ${plan.dramas.sft}, GRPO ${plan.dramas.grpo}, evaluation ${plan.dramas.eval}\ncalls   ${plan.calls.low} to ${plan.calls.high}, about ${plan.calls.expected}\ncost    ${plan.cost.low.toFixed(2)} to ${plan.cost.high.toFixed(2)}, about ${plan.cost.expected.toFixed(2)}\n` };
    },
  });

  const withLedger = async <T>(options: CurateOptions, context: CommandContext, work: (project: Project, ledger: ReturnType<typeof openSqliteLedger>) => Promise<T>): Promise<T> => {
    const project = await openProject(options.config, context, options.maxCost);
    const ledger = openSqliteLedger(join(project.workdir, "ledger.db"));
    try {
      return await work(project, ledger);
    } finally {
      ledger.close();
    }
  };

  defineCommand<CurateOptions>(group, io, setExitCode, {
    name: "run",
    summary: "ask the teacher what the ledger does not hold yet",
    example: "dramascope curate run --config curate.yaml --max-cost 20",
    configure: withConfig,
    run: (context, options) =>
      withLedger(options, context, async (project, ledger) => {
        const { apiKeyEnv } = project.config.teacher;
        const apiKey = apiKeyEnv === undefined ? undefined : io.env[apiKeyEnv];
        if (apiKeyEnv !== undefined && apiKey === undefined) throw new CurationError(`the environment variable ${apiKeyEnv} is not set`, { code: "TEACHER_UNAVAILABLE", hint: "Set it to the provider's key." });
        const summary = await runCuration({ ...project, ledger, loadPictures: pictureLoader(project, context), ...(apiKey === undefined ? {} : { apiKey }), journal: join(project.workdir, "calls.jsonl"), signal: context.signal, onProgress: context.progress });
        for (const { name, count, byClass } of summary.funnel.stages) context.say(`${name.padEnd(18)} ${String(count).padStart(6)}  by class ${byClass.join(" ")}`);
        context.say(summary.isComplete ? `complete: ${summary.calls} calls, spent ${summary.cost.toFixed(3)}` : `not complete (${summary.stopped ?? "some calls are parked"}): the same command goes on`);
        return { json: { ...summary, ...(summary.stopped === "budget" ? { code: "BUDGET_REACHED" } : {}) }, ...(summary.isComplete ? {} : { exitCode: 1 as const }) };
      }),
  });

  defineCommand<CurateOptions>(group, io, setExitCode, {
    name: "status",
    summary: "what the ledger holds",
    example: "dramascope curate status --config curate.yaml",
    configure: withConfig,
    run: (context, options) =>
      withLedger(options, context, async (project, ledger) => {
        const outcomes = (await readOutcomes({ ...project, ledger })).filter(({ split }) => split !== "eval");
        const funnel = funnelOf(outcomes);
        const spent = ledger.rows().reduce((sum, row) => sum + row.cost, 0);
        return { json: { funnel, spent }, text: [...funnel.stages.map(({ name, count, byClass }) => `${name.padEnd(18)} ${String(count).padStart(6)}  by class ${byClass.join(" ")}`), `spent ${spent.toFixed(3)}`, ""].join("\n") };
      }),
  });

  defineCommand<CurateOptions>(group, io, setExitCode, {
    name: "export",
    summary: "write the training sets",
    example: "dramascope curate export --config curate.yaml",
    configure: (command) => withConfig(command).option("--out <dir>", "default: export in the work folder"),
    run: (context, options) =>
      withLedger(options, context, async (project, ledger) => {
        const out = options.out === undefined ? join(project.workdir, "export") : resolve(options.out);
        const manifest = await exportSets({ ...project, ledger }, out, { manifestPath: (one, episode) => relative(out, join(framesFolder(project.workdir, one), String(episode), "manifest.json")) });
        context.say(`${Object.entries(manifest.counts).map(([name, count]) => `${name} ${count}`).join(", ")} in ${out}`);
        for (const [reason, count] of Object.entries(manifest.leftOut)) context.say(`${count} left out: ${reason}`);
        return { json: { out, ...manifest } };
      }),
  });
  program.addCommand(group);
}
