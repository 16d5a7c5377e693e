import { dirname, join, resolve } from "node:path";
import { curationConfig, openLedger, type CurationConfig, type StepLedger } from "@dramascope/curation";
import { parseAmount, parseCount, usageError, type CommandContext } from "./context.ts";
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
  /** Whether the ledger is a SQLite file, which one process may write. */
  hasOneWriter: boolean;
  /** Opens the ledger; for reading alone also while a run is on. */
  openLedger: (access: "read" | "write") => Promise<StepLedger>;
}

/** The ledger that `--ledger` names; a file's path becomes absolute. */
function ledgerAddress(text: string): string {
  const file = /^sqlite:(.+)$/u.exec(text)?.[1];
  if (file !== undefined) return `sqlite:${resolve(file)}`;
  if (/^postgres(?:ql)?:\/\//u.test(text)) return text;
  throw usageError("--ledger wants sqlite:FILE or postgres://USER@HOST/DATABASE", "A password is better kept in the environment: ledger: { driver: postgres, urlEnv: DATABASE_URL }.");
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
    ...(flags.maxCost !== undefined && { budget: { maxCost: parseAmount("--max-cost", flags.maxCost) } }),
    ...(flags.concurrency !== undefined && { concurrency: parseCount("--concurrency", flags.concurrency) }),
    ...(seed !== undefined && { split: { seed: String(seed) }, select: { seed: String(seed) } }),
  };
  const { settings } = await readSettings(flags.config, curationConfig, { set: flags.set, over });
  const address = flags.ledger === undefined ? undefined : ledgerAddress(flags.ledger);
  const config = withAbsolutePaths(settings, dirname(resolve(flags.config)));
  return {
    config,
    hasOneWriter: address === undefined ? config.ledger?.driver === "sqlite" : address.startsWith("sqlite:"),
    openLedger: (access) => openLedger(config, io.env, { ...(address !== undefined && { address }), isReadOnly: access === "read" }),
  };
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
