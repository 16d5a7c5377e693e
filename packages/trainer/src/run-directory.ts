import { appendFile, mkdir, open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { takeLock, writeFileAtomically, writeJsonl } from "@dramascope/schema";
import { loggedSteps, readCheckpoint, writeCheckpoint, type Checkpoint, type CheckpointOwner, type Progress } from "./checkpoint.ts";
import { TrainerError } from "./errors.ts";
import type { RunManifest } from "./run-manifest.ts";

const LOGS = ["metrics.jsonl", "completions.jsonl"] as const;
/** A log of a run. */
export type LogName = (typeof LOGS)[number];

const CHECKPOINT = /^checkpoint-\d{6,}$/u;
const stepOf = (name: string): number => Number(name.slice(11));
const nameOf = (step: number): string => `checkpoint-${String(step).padStart(6, "0")}`;

/**
 * Folder of a run's checkpoint.
 *
 * @param which `latest`, `best` (the highest reward, or the lowest loss on samples that were held out), or a number of steps.
 * @throws TrainerError `NO_CHECKPOINT` when the run has no such one.
 */
export async function findCheckpoint(runDir: string, which: string): Promise<string> {
  const fail = (what: string): never => {
    throw new TrainerError(`${runDir} has ${what}`, { code: "NO_CHECKPOINT", hint: "Give the folder of a run, and latest, best or the steps of a checkpoint that is there." });
  };
  if (which !== "latest" && which !== "best" && !/^\d{1,9}$/u.test(which)) fail(`no checkpoint ${JSON.stringify(which)}`);
  const name = /^\d/u.test(which) ? nameOf(Number(which)) : (await readFile(join(runDir, which), "utf8").catch(() => "")).trim();
  if (!CHECKPOINT.test(name) || !(await readdir(runDir).catch((): string[] => [])).includes(name)) fail(`no checkpoint ${which}`);
  return join(runDir, name);
}

/** Names that differ between two records, with `undefined` for what one of them lacks. */
function differences(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((key) => JSON.stringify(a[key]) !== JSON.stringify(b[key]));
}

/** Settings and inputs that say what a checkpoint is judged by. */
const JUDGING: readonly string[] = ["seed", "evalSamples", "data", "rewardWeights", "nearMissCredit"];

/** A run's folder: its manifest, logs and checkpoints, each whole or absent. */
export class RunDirectory {
  readonly path: string;
  #unlock: (() => void) | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Makes the folder where there is none, and takes it for this process.
   *
   * @throws TrainerError `RUN_BUSY` while another process has it.
   */
  async lock(): Promise<void> {
    await mkdir(this.path, { recursive: true });
    const path = join(this.path, "run.lock");
    const taken = takeLock(path);
    if ("holder" in taken) throw new TrainerError(`${this.path} is in use by process ${taken.holder}`, { code: "RUN_BUSY", hint: `Wait for it, or give a new run folder. If that process is no training run, remove ${path}.` });
    this.#unlock = taken.release;
  }

  /** Gives the folder back. */
  unlock(): void {
    this.#unlock?.();
    this.#unlock = undefined;
  }

  /**
   * Opens the folder, which must be locked, and removes what a killed run left half done.
   *
   * @param onDrift `refuse`, or `allow` to go on with other settings, inputs or another back end; what differs is written in the manifest.
   * @returns       The manifest of the run that stands there.
   * @throws TrainerError `RUN_MISMATCH` when another run stands there, `RUN_DAMAGED`.
   */
  async open(manifest: RunManifest, onDrift: "refuse" | "allow"): Promise<RunManifest> {
    for (const entry of await readdir(this.path)) if (/\.(?:tmp|old)-/u.test(entry)) await rm(join(this.path, entry), { recursive: true, force: true });
    const known = await this.#readManifest();
    if (known === undefined) {
      await this.writeManifest(manifest);
      return manifest;
    }
    if (known.identity === manifest.identity) return known;
    const changed = [...differences(manifest.config, known.config), ...differences(manifest.inputs, known.inputs)];
    if (onDrift === "allow" && known.kind === manifest.kind) {
      const drifted = { ...manifest, former: [...known.former, known.identity], drift: [...new Set([...known.drift, ...changed])] };
      await this.writeManifest(drifted);
      return drifted;
    }
    const what = known.kind === manifest.kind ? `another run: ${changed.join(", ")} differ` : `a run of ${known.kind}`;
    throw new TrainerError(`${this.path} holds ${what}`, { code: "RUN_MISMATCH", hint: "Give a new run folder, or the settings, data, model and back end that the run started with." });
  }

  /** Replaces the manifest. */
  async writeManifest(manifest: RunManifest): Promise<void> {
    await writeFileAtomically(join(this.path, "run.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  }

  /** Adds lines to a log and flushes them to the disk. */
  async append(log: LogName, records: readonly unknown[]): Promise<void> {
    const path = join(this.path, log);
    await appendFile(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    const handle = await open(path, "r");
    await handle.sync();
    await handle.close();
  }

  /** Writes a JSON or JSONL file of the run, whole or absent. */
  async write(name: string, contents: object): Promise<void> {
    const path = join(this.path, name);
    if (Array.isArray(contents)) await writeJsonl(path, contents as unknown[]);
    else await writeFileAtomically(path, `${JSON.stringify(contents, null, 2)}\n`);
  }

  /**
   * Writes a checkpoint, points `latest` and `best` at what they name, then drops the others: all but the newest and the best. Those of later steps are ones that the run could not go on from.
   */
  async save(owner: CheckpointOwner, checkpoint: Omit<Checkpoint, "values">, saveAdapter: (folder: string) => Promise<void>, keep: number): Promise<void> {
    const { step, best } = checkpoint.progress;
    await writeCheckpoint(this.checkpointAt(step), owner, checkpoint, saveAdapter);
    await this.#point(checkpoint.progress);
    const names = await this.checkpoints();
    const kept = new Set([...names.filter((name) => stepOf(name) <= step).slice(0, keep), ...(best ? [nameOf(best.step)] : [])]);
    for (const name of names) if (!kept.has(name)) await rm(join(this.path, name), { recursive: true, force: true });
  }

  /** Makes `latest` and `best` name what they should; where that is nothing, there is no such file. */
  async #point(progress: Progress | undefined): Promise<void> {
    for (const [pointer, step] of [["latest", progress?.step], ["best", progress?.best?.step]] as const) {
      const path = join(this.path, pointer);
      if (step === undefined) await rm(path, { force: true });
      else await writeFileAtomically(path, `${nameOf(step)}\n`);
    }
  }

  /**
   * The newest checkpoint that is whole; undefined when there is none. Logs are cut back to its step, `latest` and `best` set to what it says: a kill may have come before they were written.
   *
   * @param onWarning Hears of damaged checkpoints, which are passed over, and of a best one that is forgotten because what it was judged by has changed since.
   */
  async restore(owner: CheckpointOwner, onWarning: (text: string) => void): Promise<Checkpoint | undefined> {
    let found: Awaited<ReturnType<typeof readCheckpoint>> | undefined;
    for (const name of await this.checkpoints()) {
      try {
        found = await readCheckpoint(join(this.path, name), owner);
        break;
      } catch (error) {
        onWarning(`${name} is damaged (${(error as Error).message}); an earlier one is used`);
      }
    }
    const { identity, drift } = owner.manifest;
    const changed = found === undefined || found.identity === identity ? [] : JUDGING.filter((name) => drift.includes(name));
    if (found?.progress.best && changed.length > 0) {
      onWarning(`the best checkpoint so far, ${nameOf(found.progress.best.step)}, was judged by other ${changed.join(", ")}: the best is looked for anew`);
      found.progress.best = null;
    }
    await this.#point(found?.progress);
    const step = found ? loggedSteps(found.progress) : 0;
    for (const log of LOGS) await this.#cutLog(log, step);
    return found;
  }

  /** Folder of the checkpoint after a step. */
  checkpointAt(step: number): string {
    return join(this.path, nameOf(step));
  }

  /** Names of the checkpoints, the newest first. */
  async checkpoints(): Promise<string[]> {
    return (await readdir(this.path))
      .filter((name) => CHECKPOINT.test(name))
      .sort((a, b) => stepOf(b) - stepOf(a));
  }

  async #readManifest(): Promise<RunManifest | undefined> {
    try {
      return JSON.parse(await readFile(join(this.path, "run.json"), "utf8")) as RunManifest;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw new TrainerError(`${join(this.path, "run.json")} cannot be read: ${(error as Error).message}`, { code: "RUN_DAMAGED", cause: error, hint: "Give a new run folder." });
    }
  }

  /** Drops lines of later steps, and a last line that was cut off. */
  async #cutLog(log: LogName, step: number): Promise<void> {
    const path = join(this.path, log);
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text === undefined) return;
    const kept = text.split("\n").filter((line) => {
      try {
        return (JSON.parse(line) as { step: number }).step <= step;
      } catch {
        return false;
      }
    });
    await writeFileAtomically(path, kept.map((line) => `${line}\n`).join(""));
  }
}
