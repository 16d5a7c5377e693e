import { appendFile, mkdir, open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { hashJson, sha256File, writeFileAtomically, writeFolderAtomically } from "@dramascope/schema";
import { openSafetensors, writeSafetensors, type NamedArray } from "@dramascope/qwen-vl";
import { TrainerError } from "./errors.ts";
import type { OptimizerState } from "./optimizer.ts";

/** Where a run stands. */
export interface Progress {
  /** Finished optimiser steps. */
  step: number;
  /** Tokens seen. */
  tokens: number;
}

/** Values, moments and place of a run at one moment. */
export interface Checkpoint {
  progress: Progress;
  names: readonly string[];
  values: Float32Array[];
  optimizer: OptimizerState;
}

/** What a run is, in `run.json`. */
export interface RunManifest {
  format: "dramascope.run";
  kind: "sft" | "grpo";
  config: Readonly<Record<string, unknown>>;
  /** Hash of settings, data and model; another one cannot resume this run. */
  identity: string;
  inputs: Readonly<Record<string, string>>;
  finished: boolean;
}

const LOGS = ["metrics.jsonl", "completions.jsonl"] as const;
/** A log of a run. */
export type LogName = (typeof LOGS)[number];

const nameOf = (step: number): string => `checkpoint-${String(step).padStart(6, "0")}`;

/** A run's folder: its manifest, logs and checkpoints, each whole or absent. */
export class RunDirectory {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Opens or makes the folder.
   *
   * @throws TrainerError `RUN_MISMATCH` when another run stands there.
   */
  async open(kind: RunManifest["kind"], config: Readonly<Record<string, unknown>>, inputs: Readonly<Record<string, string>>): Promise<RunManifest> {
    await mkdir(this.path, { recursive: true });
    for (const entry of await readdir(this.path)) if (/\.(?:tmp|old)-/u.test(entry)) await rm(join(this.path, entry), { recursive: true, force: true });
    const { runDir: _runDir, ...settings } = config;
    const manifest: RunManifest = { format: "dramascope.run", kind, config: settings, identity: hashJson({ kind, settings, inputs }), inputs, finished: false };
    const known = await this.#readManifest();
    if (known === undefined) {
      await writeFileAtomically(join(this.path, "run.json"), `${JSON.stringify(manifest, null, 2)}\n`);
      return manifest;
    }
    if (known.identity === manifest.identity) return known;
    const changed = [...new Set([...Object.keys(settings), ...Object.keys(known.config)])].filter((key) => JSON.stringify(settings[key]) !== JSON.stringify(known.config[key]));
    const what = changed.length > 0 ? `other settings (${changed.join(", ")})` : "other data or another model";
    throw new TrainerError(`${this.path} holds a run with ${what}`, { code: "RUN_MISMATCH", hint: "Give a new run folder, or the settings and data that the run started with." });
  }

  /** Marks the run as finished. */
  async finish(manifest: RunManifest): Promise<void> {
    await writeFileAtomically(join(this.path, "run.json"), `${JSON.stringify({ ...manifest, finished: true }, null, 2)}\n`);
  }

  /** Adds lines to a log and flushes them to the disk. */
  async append(log: LogName, records: readonly unknown[]): Promise<void> {
    const path = join(this.path, log);
    await appendFile(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    const handle = await open(path, "r");
    await handle.sync();
    await handle.close();
  }

  /** Writes a checkpoint, then drops old ones. */
  async save(checkpoint: Checkpoint, keep: number): Promise<void> {
    const { names, values, optimizer, progress } = checkpoint;
    const tensors = names.flatMap((name, i): NamedArray[] => [
      { name: `value/${name}`, shape: [values[i]!.length], values: values[i]! },
      { name: `m/${name}`, shape: [values[i]!.length], values: optimizer.m[i] as Float32Array },
      { name: `v/${name}`, shape: [values[i]!.length], values: optimizer.v[i] as Float32Array },
    ]);
    await writeFolderAtomically(join(this.path, nameOf(progress.step)), async (temporary) => {
      await writeSafetensors(join(temporary, "state.safetensors"), tensors);
      const sha256 = await sha256File(join(temporary, "state.safetensors"));
      await writeFileAtomically(join(temporary, "manifest.json"), `${JSON.stringify({ ...progress, optimizerStep: optimizer.step, sha256 }, null, 2)}\n`);
    });
    const all = await this.#checkpoints();
    for (const old of all.slice(0, Math.max(0, all.length - keep))) await rm(join(this.path, old), { recursive: true, force: true });
  }

  /**
   * The newest checkpoint that is whole; undefined when there is none. Logs are cut back to its step. A damaged one is passed over
   * and named.
   */
  async restore(names: readonly string[], onDamaged: (name: string, why: string) => void): Promise<Checkpoint | undefined> {
    let found: Checkpoint | undefined;
    for (const name of (await this.#checkpoints()).reverse()) {
      try {
        found = await this.#read(name, names);
        break;
      } catch (error) {
        onDamaged(name, (error as Error).message);
      }
    }
    const step = found?.progress.step ?? 0;
    for (const log of LOGS) await this.#cutLog(log, step);
    return found;
  }

  async #read(name: string, names: readonly string[]): Promise<Checkpoint> {
    const folder = join(this.path, name);
    const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8")) as Progress & { optimizerStep: number; sha256: string };
    const path = join(folder, "state.safetensors");
    if ((await sha256File(path)) !== manifest.sha256) throw new Error("its contents do not fit its hash");
    const file = await openSafetensors(path);
    try {
      const read = async (prefix: string): Promise<Float32Array[]> => {
        const out: Float32Array[] = [];
        for (const one of names) out.push((await file.read(`${prefix}/${one}`)).values as Float32Array);
        return out;
      };
      const [values, m, v] = [await read("value"), await read("m"), await read("v")];
      return { progress: { step: manifest.step, tokens: manifest.tokens }, names, values, optimizer: { step: manifest.optimizerStep, m, v } };
    } finally {
      await file.close();
    }
  }

  async #checkpoints(): Promise<string[]> {
    return (await readdir(this.path)).filter((name) => /^checkpoint-\d{6,}$/u.test(name)).sort();
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
