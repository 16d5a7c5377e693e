import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runCuration, STAGE_KINDS } from "@dramascope/curation";
import { Option, type Command } from "commander";
import { defineCommand, parseCount, usageError, type CliIo, type CommandContext, type CommandResult, type SetExitCode } from "../context.ts";
import { assertDramas, openCurateProject, withLedger, type CurateFlags, type CurateProject } from "../curate-project.ts";
import { joinProgress, showEvents } from "../curate-progress.ts";
import { curationStanding, endingLine, nothingOpen, shortfallLines, shortfallOf, stepTroubles } from "../curate-standing.ts";
import { superviseWorkers, type WorkerEnd } from "../curate-workers.ts";
import type { ExitCode } from "../errors.ts";
import { projectWords, stageKinds, withProjectOptions } from "./curate-options.ts";

interface RunFlags extends CurateFlags {
  workers: string;
  limit?: string;
  stages?: string;
  newGeneration?: boolean;
  quiet?: boolean;
  /** Started by another run, which has the last word. */
  asWorker?: boolean;
}

async function runAlone(project: CurateProject, options: RunFlags, context: CommandContext): Promise<CommandResult> {
  const { config, env } = project;
  const currency = config.teacher.prices?.currency ?? null;
  const show = showEvents(context, currency);
  await mkdir(config.workdir, { recursive: true });
  const summary = await runCuration({
    config, env,
    journal: join(config.workdir, "calls.jsonl"),
    signal: context.signal,
    onEvent: (event) => {
      show(event);
      if (event.type === "imported") assertDramas(config, event.report);
    },
    onProgress: (progress) => {
      // How far the dramas are, events say with more figures.
      if (progress.phase !== "curate") context.progress(progress);
    },
    ...(options.limit !== undefined && { limit: parseCount("--limit", options.limit) }),
    ...(options.stages !== undefined && { stages: stageKinds("--stages", options.stages) }),
    ...(options.newGeneration && { isNewGeneration: true }),
  });
  const total = (state: "failed" | "parked"): number => STAGE_KINDS.reduce((sum, kind) => sum + summary.counts[kind][state], 0);
  const [failed, parked] = [total("failed"), total("parked")];
  const code = shortfallOf({ ...summary, failed, parked });
  const troubles = failed + parked === 0 ? [] : await withLedger(project, "read", (ledger) => stepTroubles(ledger, summary.generation));
  if (!options.asWorker) {
    context.say(endingLine({ ...summary, ...summary.progress, spent: summary.spent }));
    for (const line of shortfallLines(code, troubles)) context.complain(line);
  }
  return { json: { ...summary, code, troubles }, ...(code !== null && { exitCode: 1 as const }) };
}

const EXIT_CODES = new Set<number | null>([0, 1, 2, 3, 4, 130, 143]);

/** The worst of the workers' ends; one that a signal ended has failed. */
const worstOf = (ends: readonly WorkerEnd[]): ExitCode => ends.reduce<ExitCode>((worst, { code }) => Math.max(worst, EXIT_CODES.has(code) ? code! : 1) as ExitCode, 0);

/** A figure that every worker gives at its end, added up. */
const sumOf = (ends: readonly WorkerEnd[], name: "calls" | "cost"): number => ends.reduce((sum, { result }) => sum + (typeof result?.[name] === "number" ? result[name] : 0), 0);

async function runWorkers(count: number, project: CurateProject, options: RunFlags, context: CommandContext): Promise<CommandResult> {
  const { limit, stages, newGeneration } = options;
  const words = [
    "curate", "run", ...projectWords(options), "--json", "--progress", "json", "--as-worker",
    ...(options.quiet ? ["--quiet"] : []),
    ...(context.seed === undefined ? [] : ["--seed", String(context.seed)]),
    ...(limit === undefined ? [] : ["--limit", limit]),
    ...(stages === undefined ? [] : ["--stages", stages]),
    ...(newGeneration ? ["--new-generation"] : []),
  ];
  const currency = project.config.teacher.prices?.currency ?? null;
  const ends = await superviseWorkers({
    count,
    args: words,
    env: context.io.env,
    signal: context.signal,
    onStart: (worker, pid) => context.say(`worker ${worker}: process ${pid}`),
    onProgress: joinProgress(context.progress, currency),
    onLine: (worker, line) => context.complain(`worker ${worker}: ${line}`),
  });
  for (const { worker, pid, code, signal } of ends) if (code !== 0 && code !== 1 && !context.signal.aborted) context.complain(`worker ${worker} (process ${pid ?? "?"}) ended with ${signal ?? `exit code ${code ?? "?"}`}; it is not started again`);
  if (!ends.some(({ result }) => typeof result?.["calls"] === "number")) return { json: { workers: ends }, exitCode: worstOf(ends) };
  // Each worker knows its own part; how all of it stands is in the ledger.
  const { status, troubles, dramasDecided, dramas } = await withLedger(project, "read", (ledger) => curationStanding(ledger, project.config, limit === undefined ? undefined : parseCount("--limit", limit)));
  const { settled, unknown, inFlight } = status.spending;
  const stopped = context.signal.aborted ? "signal" : ends.some(({ result }) => result?.["stopped"] === "budget") ? "budget" : null;
  const ending = { isComplete: stopped === null && nothingOpen(status, stages === undefined ? STAGE_KINDS : stageKinds("--stages", stages)), stopped, calls: sumOf(ends, "calls"), cost: sumOf(ends, "cost"), spent: settled + unknown + inFlight, currency, dramasDecided, dramas } as const;
  const code = shortfallOf({ ...status, stopped });
  context.say(endingLine(ending));
  for (const line of shortfallLines(code, troubles)) context.complain(line);
  return { json: { workers: ends, ...ending, open: status.open, counts: status.counts, code, troubles }, exitCode: worstOf(ends) };
}

/** `dramascope curate run` */
export function addCurateRun(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<RunFlags>(group, io, setExitCode, {
    name: "run",
    summary: "ask the teacher what the ledger does not hold yet; the same command again goes on",
    example: "dramascope curate run --max-cost 20",
    configure: (command) =>
      withProjectOptions(command)
        .option("--max-cost <amount>", "no call goes out that could bring the ledger's spending above this; default the settings' budget.maxCost")
        .option("--limit <n>", "so many dramas, for a trial; without it a later run goes on with the rest")
        .option("--stages <kinds>", "only these kinds of steps: caption, sample, filter, comments")
        .option("--concurrency <n>", "calls at once of one worker; default the settings' teacher.limits.inFlight")
        .option("--workers <n>", "processes at once, with a ledger in Postgres", "1")
        .option("--new-generation", "ask anew where prompts, model or sampling have changed; old answers stay")
        .addOption(new Option("--as-worker").hideHelp()),
    run: async (context, options) => {
      const workers = parseCount("--workers", options.workers);
      const project = await openCurateProject(options, context);
      if (workers === 0) throw usageError("--workers wants 1 or more");
      if (workers > 1 && project.hasOneWriter) throw usageError(`--workers ${workers}: a SQLite ledger has one writer, so that a crash can never leave two of them at odds`, "Raise --concurrency instead, or keep the ledger in Postgres: ledger: { driver: postgres, urlEnv: DATABASE_URL }.");
      return workers === 1 ? runAlone(project, options, context) : runWorkers(workers, project, options, context);
    },
  });
}
