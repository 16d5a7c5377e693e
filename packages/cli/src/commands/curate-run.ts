import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runCuration, STAGE_KINDS, type RunSummary } from "@dramascope/curation";
import type { Command } from "commander";
import { defineCommand, parseCount, usageError, type CliIo, type CommandContext, type CommandResult, type SetExitCode } from "../context.ts";
import { openCurateProject, type CurateFlags, type CurateProject } from "../curate-project.ts";
import { joinProgress, showEvents } from "../curate-progress.ts";
import { superviseWorkers, type WorkerEnd } from "../curate-workers.ts";
import type { ExitCode } from "../errors.ts";
import { projectWords, stageKinds, withProjectOptions } from "./curate-options.ts";

interface RunFlags extends CurateFlags {
  workers: string;
  limit?: string;
  stages?: string;
  newGeneration?: boolean;
}

/** Why a run that was not stopped has not reached everything; null when it has. */
type Shortfall = "BUDGET_REACHED" | "STEPS_PARKED" | "STEPS_FAILED" | null;

function shortfallOf({ stopped, counts }: RunSummary): Shortfall {
  const total = (state: "failed" | "parked"): number => STAGE_KINDS.reduce((sum, kind) => sum + counts[kind][state], 0);
  if (stopped === "budget") return "BUDGET_REACHED";
  if (total("parked") > 0) return "STEPS_PARKED";
  return total("failed") > 0 ? "STEPS_FAILED" : null;
}

const SHORTFALL_WORDS: Readonly<Record<NonNullable<Shortfall>, string>> = {
  BUDGET_REACHED: "BUDGET_REACHED: no call fits into budget.maxCost any more; the same command with a larger --max-cost goes on",
  STEPS_PARKED: "some steps are parked after too many failed attempts: dramascope curate retry frees them",
  STEPS_FAILED: "some answers were of no use: dramascope curate report names them, dramascope curate retry asks anew",
};

const money = (amount: number, currency: string | null): string => (currency === null ? "" : `, ${amount.toFixed(4)} ${currency}`);

async function runAlone(project: CurateProject, options: RunFlags, context: CommandContext): Promise<CommandResult> {
  const { config, env } = project;
  const currency = config.teacher.prices?.currency ?? null;
  await mkdir(config.workdir, { recursive: true });
  const summary = await runCuration({
    config, env,
    journal: join(config.workdir, "calls.jsonl"),
    signal: context.signal,
    onEvent: showEvents(context, currency),
    onProgress: (progress) => {
      // How far the dramas are, events say with more figures.
      if (progress.phase !== "curate") context.progress(progress);
    },
    ...(options.limit !== undefined && { limit: parseCount("--limit", options.limit) }),
    ...(options.stages !== undefined && { stages: stageKinds("--stages", options.stages) }),
    ...(options.newGeneration && { isNewGeneration: true }),
  });
  const code = shortfallOf(summary);
  context.say(`${summary.isComplete ? "complete" : "not complete"}: ${summary.calls} calls${money(summary.cost, currency)}; ${summary.progress.dramasDecided} of ${summary.progress.dramas} dramas decided${money(summary.spent, currency)} in all`);
  if (code !== null) context.say(SHORTFALL_WORDS[code]);
  return { json: { ...summary, code }, ...(code !== null && { exitCode: 1 as const }) };
}

const EXIT_CODES = new Set<number | null>([0, 1, 2, 3, 4, 130, 143]);

/** The worst of the workers' ends; one that a signal ended has failed. */
const worstOf = (ends: readonly WorkerEnd[]): ExitCode => ends.reduce<ExitCode>((worst, { code }) => Math.max(worst, EXIT_CODES.has(code) ? code! : 1) as ExitCode, 0);

async function runWorkers(count: number, currency: string | null, options: RunFlags, context: CommandContext): Promise<CommandResult> {
  const { limit, stages, newGeneration } = options;
  const words = [
    "curate", "run", ...projectWords(options), "--json", "--progress", "json",
    ...(context.seed === undefined ? [] : ["--seed", String(context.seed)]),
    ...(limit === undefined ? [] : ["--limit", limit]),
    ...(stages === undefined ? [] : ["--stages", stages]),
    ...(newGeneration ? ["--new-generation"] : []),
  ];
  const ends = await superviseWorkers({
    count,
    args: words,
    env: context.io.env,
    signal: context.signal,
    onStart: (worker, pid) => context.say(`worker ${worker}: process ${pid}`),
    onProgress: joinProgress(context.progress, currency),
    onLine: (worker, line) => context.say(`worker ${worker}: ${line}`),
  });
  for (const { worker, pid, code, signal } of ends) if (code !== 0) context.say(`worker ${worker} (process ${pid ?? "?"}) ended with ${signal ?? `exit code ${code ?? "?"}`}; it is not started again`);
  return { json: { workers: ends }, exitCode: worstOf(ends) };
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
        .option("--new-generation", "ask anew where prompts, model or sampling have changed; old answers stay"),
    run: async (context, options) => {
      const workers = parseCount("--workers", options.workers);
      const project = await openCurateProject(options, context);
      if (workers === 0) throw usageError("--workers wants 1 or more");
      if (workers > 1 && project.hasOneWriter) throw usageError(`--workers ${workers}: a SQLite ledger has one writer, so that a crash can never leave two of them at odds`, "Raise --concurrency instead, or keep the ledger in Postgres: ledger: { driver: postgres, urlEnv: DATABASE_URL }.");
      return workers === 1 ? runAlone(project, options, context) : runWorkers(workers, project.config.teacher.prices?.currency ?? null, options, context);
    },
  });
}
