import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { deserialize, serialize } from "node:v8";
import { openSafetensors, writeSafetensors, type NamedArray, type SafetensorsFile } from "@dramascope/qwen-vl";
import { parseRecord, sha256File, writeFolderAtomically } from "@dramascope/schema";
import { z } from "zod";
import type { OptimizerState } from "./optimizer.ts";
import { lineage, type RunManifest } from "./run-manifest.ts";

const count = z.int().min(0);

/** As checkpoints named it while rewards were all that made one the best. */
const formerBest = z.strictObject({ step: count, reward: z.number() }).transform(({ step, reward }) => ({ step, score: reward }));

/** Where a run stands. */
const progress = z.strictObject({
  /** Finished optimiser steps, skipped ones included. */
  step: count,
  /** Tokens seen. */
  tokens: count,
  /** Steps in a row that were left out because something was not finite. */
  skipped: count,
  /** Version of the run's rewards; null before the first. */
  rewardVersion: z.string().nullable(),
  /** Mean rewards of generations since the last checkpoint. */
  rewards: z.array(z.number()),
  /** The best checkpoint and what makes it that, the higher the better: the mean reward, or minus the loss on samples that are held out. */
  best: z.union([z.strictObject({ step: count, score: z.number() }), formerBest]).nullable(),
  /** What the last step's line says where a stop fell into the look at the policy after it; null where the line is written. */
  unlogged: z.record(z.string(), z.number().nullable()).nullable().default(null),
});
/** Where a run stands. */
export type Progress = z.infer<typeof progress>;

/** Steps whose lines are written. */
export const loggedSteps = ({ step, unlogged }: Progress): number => (unlogged === null ? step : step - 1);

const checkpointState = z.strictObject({
  format: z.literal("dramascope.checkpoint"),
  ...progress.shape,
  /** Place in the data; everything random follows from seed and place. */
  seed: count,
  epoch: z.number().min(0),
  /** AdamW's own count. */
  optimizerStep: count,
  /** Hashes and names of what the run is made of, and settings and inputs that changed on the way, as in `run.json`. */
  inputs: z.record(z.string(), z.string()),
  drift: z.array(z.string()),
  lineage,
});

/** State of a run at one moment. */
export interface Checkpoint {
  progress: Progress;
  /** Passes over the data, with the part of the one that runs. */
  epoch: number;
  /** Adapter values in the order of the names. */
  values: Float32Array[];
  /** Undefined before the first update. */
  optimizer: OptimizerState | undefined;
  /** What the next step needs of the one before: plain values and typed arrays. */
  carried: unknown;
}

/** What a checkpoint belongs to. */
export interface CheckpointOwner {
  manifest: RunManifest;
  seed: number;
  /** Names of the adapter's matrices. */
  names: readonly string[];
}

const FILES = { adapter: "adapter_model.safetensors", config: "adapter_config.json", optimizer: "optimizer.safetensors", state: "state.json", carried: "generation.bin", manifest: "manifest.json" } as const;

const fileHash = z.strictObject({ bytes: count, sha256: z.string() });

async function writeOptimizer(path: string, names: readonly string[], { m, v }: OptimizerState): Promise<void> {
  const tensors = names.flatMap((name, i): NamedArray[] => [
    { name: `m/${name}`, shape: [m[i]!.length], values: m[i] as Float32Array },
    { name: `v/${name}`, shape: [v[i]!.length], values: v[i] as Float32Array },
  ]);
  await writeSafetensors(path, tensors);
}

/**
 * Writes a checkpoint folder, whole or absent: a PEFT adapter with optimiser, state, and a manifest of hashes beside it.
 *
 * @param saveAdapter Writes the adapter as a PEFT folder.
 */
export async function writeCheckpoint(folder: string, { manifest, seed, names }: CheckpointOwner, checkpoint: Omit<Checkpoint, "values">, saveAdapter: (folder: string) => Promise<void>): Promise<void> {
  const { progress: place, epoch, optimizer, carried } = checkpoint;
  await writeFolderAtomically(folder, async (temporary) => {
    await saveAdapter(temporary);
    if (optimizer) await writeOptimizer(join(temporary, FILES.optimizer), names, optimizer);
    // Exact for typed arrays, NaN and -0, which JSON is not.
    if (carried !== undefined) await writeFile(join(temporary, FILES.carried), serialize(carried));
    const { inputs, drift } = manifest;
    const state: z.input<typeof checkpointState> = { format: "dramascope.checkpoint", ...place, seed, epoch, optimizerStep: optimizer?.step ?? 0, inputs, drift, lineage: { ...manifest.lineage, rewardVersion: place.rewardVersion } };
    await writeFile(join(temporary, FILES.state), `${JSON.stringify(state, null, 2)}\n`);
    const files: [string, z.infer<typeof fileHash>][] = [];
    for (const name of (await readdir(temporary)).sort()) files.push([name, { bytes: (await stat(join(temporary, name))).size, sha256: await sha256File(join(temporary, name)) }]);
    await writeFile(join(temporary, FILES.manifest), `${JSON.stringify(Object.fromEntries(files), null, 2)}\n`);
  });
}

/**
 * Checks the files of a checkpoint against its manifest; returns their names.
 *
 * @throws Error naming the file that is missing or damaged.
 */
export async function verifyCheckpoint(folder: string): Promise<ReadonlySet<string>> {
  const manifest = parseRecord(z.record(z.string(), fileHash), JSON.parse(await readFile(join(folder, FILES.manifest), "utf8")), FILES.manifest);
  const present = new Set(await readdir(folder));
  for (const name of [FILES.adapter, FILES.config, FILES.state]) if (!Object.hasOwn(manifest, name)) throw new Error(`its manifest does not name ${name}`);
  for (const [name, { sha256 }] of Object.entries(manifest)) {
    if (!present.has(name)) throw new Error(`${name} is missing`);
    if ((await sha256File(join(folder, name))) !== sha256) throw new Error(`the contents of ${name} do not fit its hash`);
  }
  return new Set(Object.keys(manifest));
}

/**
 * The state that stands in a checkpoint folder.
 *
 * @throws Error saying what is wrong with it.
 */
export async function readState(folder: string): Promise<z.infer<typeof checkpointState>> {
  return parseRecord(checkpointState, JSON.parse(await readFile(join(folder, FILES.state), "utf8")), FILES.state);
}

async function readArrays(path: string, names: readonly string[]): Promise<Float32Array[]> {
  const file: SafetensorsFile = await openSafetensors(path);
  try {
    const out: Float32Array[] = [];
    for (const name of names) out.push((await file.read(name)).values as Float32Array);
    return out;
  } finally {
    await file.close();
  }
}

/**
 * Reads a checkpoint folder.
 *
 * @returns What stands there, with the run's identity when it was written.
 * @throws Error saying what is damaged or does not belong to the run.
 */
export async function readCheckpoint(folder: string, { manifest, names }: CheckpointOwner): Promise<Checkpoint & { identity: string }> {
  const files = await verifyCheckpoint(folder);
  const { epoch, optimizerStep, lineage: { identity }, ...state } = await readState(folder);
  if (identity !== manifest.identity && !manifest.former.includes(identity)) throw new Error("it belongs to another run");
  const moments = (kind: "m" | "v"): Promise<Float32Array[]> => readArrays(join(folder, FILES.optimizer), names.map((name) => `${kind}/${name}`));
  return {
    identity,
    progress: { step: state.step, tokens: state.tokens, skipped: state.skipped, rewardVersion: state.rewardVersion, rewards: state.rewards, best: state.best, unlogged: state.unlogged },
    epoch,
    values: await readArrays(join(folder, FILES.adapter), names.map((name) => `base_model.model.${name}`)),
    optimizer: files.has(FILES.optimizer) ? { step: optimizerStep, m: await moments("m"), v: await moments("v") } : undefined,
    carried: files.has(FILES.carried) ? deserialize(await readFile(join(folder, FILES.carried))) : undefined,
  };
}
