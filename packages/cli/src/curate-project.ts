import { dirname, join, resolve } from "node:path";
import { curationConfig, openLedger, type CurationConfig, type StepLedger } from "@dramascope/curation";
import { parseAmount, parseCount, usageError, type CommandContext } from "./context.ts";
import { CliError } from "./errors.ts";
import { readSettings } from "./settings-file.ts";

/** Flags of every `curate` command. */
export interface CurateFlags {
  config: string;
  /** `sqlite:FILE` or `postgres://…`, instead of the settings' ledger. */
  ledger?: string;
  maxCost?: string;
  concurrency?: string;
  /** `path=value` each. */
  set?: string[];
}

/** A curation as its file and flags describe it; all paths absolute. */
export interface CurateProject {
  config: CurationConfig;
  /** Environment that the settings' variables are looked up in. */
  env: CommandContext["io"]["env"];
  /** Whether the ledger is a SQLite file, which one process may write. */
  hasOneWriter: boolean;
  /** Opens the ledger; for reading alone also while a run is on. */
  openLedger: (access: "read" | "write") => Promise<StepLedger>;
}

/** Stands for the address that `--ledger` gives, which is in no variable of the user's. */
const LEDGER_VARIABLE = "DRAMASCOPE_LEDGER_ADDRESS";

/** The ledger that `--ledger` names, as settings and environment. */
function namedLedger(text: string, { ledger }: CurationConfig): { ledger: NonNullable<CurationConfig["ledger"]>; env: Record<string, string> } {
  const file = /^sqlite:(.+)$/u.exec(text)?.[1];
  if (file !== undefined) return { ledger: { driver: "sqlite", path: resolve(file) }, env: {} };
  if (!/^postgres(?:ql)?:\/\//u.test(text)) throw usageError("--ledger wants sqlite:FILE or postgres://USER@HOST/DATABASE", "A password is better kept in the environment: ledger: { driver: postgres, urlEnv: DATABASE_URL }.");
  const schema = ledger?.driver === "postgres" ? ledger.schema : undefined;
  return { ledger: { driver: "postgres", urlEnv: LEDGER_VARIABLE, ...(schema !== undefined && { schema }) }, env: { [LEDGER_VARIABLE]: text } };
}

function withAbsolutePaths(config: CurationConfig, here: string): CurationConfig {
  const at = (path: string): string => resolve(here, path);
  const { input, prompts, export: sets } = config;
  const workdir = at(config.workdir);
  return {
    ...config,
    workdir,
    ...(input && { input: { dramas: at(input.dramas), labels: at(input.labels), mediaRoots: input.mediaRoots.map(at) } }),
    prompts: prompts.dir === undefined ? prompts : { dir: at(prompts.dir) },
    ledger: config.ledger?.driver === "postgres" ? config.ledger : { driver: "sqlite", path: config.ledger ? at(config.ledger.path) : join(workdir, "ledger.db") },
    export: { ...sets, dir: sets.dir === undefined ? join(workdir, "export") : at(sets.dir) },
  };
}

/**
 * Reads a curation's file and lays flags over it.
 *
 * @throws CliError `CONFIG_INVALID` with line and column, `USAGE`.
 */
export async function openCurateProject(flags: CurateFlags, { io, seed }: Pick<CommandContext, "io" | "seed">): Promise<CurateProject> {
  const over = {
    ...(flags.maxCost !== undefined && { "--max-cost": { budget: { maxCost: parseAmount("--max-cost", flags.maxCost) } } }),
    ...(flags.concurrency !== undefined && { "--concurrency": { concurrency: parseCount("--concurrency", flags.concurrency) } }),
    ...(seed !== undefined && { "--seed": { split: { seed: String(seed) }, select: { seed: String(seed) } } }),
  };
  const { settings } = await readSettings(flags.config, curationConfig, { set: flags.set, over });
  const fromFile = withAbsolutePaths(settings, dirname(resolve(flags.config)));
  const named = flags.ledger === undefined ? undefined : namedLedger(flags.ledger, fromFile);
  const config = named ? { ...fromFile, ledger: named.ledger } : fromFile;
  const env = { ...io.env, ...named?.env };
  return { config, env, hasOneWriter: config.ledger?.driver === "sqlite", openLedger: (access) => openLedger(config, env, { isReadOnly: access === "read" }) };
}

/** Refuses an input without a single drama: a wrong file, most likely. */
export function assertDramas({ input }: CurationConfig, { dramas, rejected, rejectedFile }: { dramas: number; rejected: number; rejectedFile?: string | null }): void {
  if (dramas > 0 || input === undefined) return;
  const left = rejected === 0 ? "it is empty" : `${rejected} ${rejected === 1 ? "line is" : "lines are"} left out`;
  throw new CliError(`${input.dramas} holds no drama that can be asked about: ${left}`, {
    code: "NO_DRAMAS",
    hint: `${rejectedFile ? `${rejectedFile} says why each line was left out. ` : ""}A line is one drama as JSON with its class in ${input.labels}.`,
  });
}

/** Does work with a ledger and closes it, whatever comes. */
export async function withLedger<T>(project: CurateProject, access: "read" | "write", work: (ledger: StepLedger) => Promise<T>): Promise<T> {
  const ledger = await project.openLedger(access);
  try {
    return await work(ledger);
  } finally {
    await ledger.close();
  }
}
