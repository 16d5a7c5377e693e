import { copyFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFolderAtomically } from "@dramascope/schema";
import { QwenVlError } from "./errors.ts";
import { readJson } from "./optional-files.ts";
import { checkInteger, checkWord } from "./options.ts";
import { isCheckpointFile, SETTINGS } from "./pull-files.ts";
import { refuseOtherFolder } from "./replaceable-folder.ts";
import { writeSafetensors } from "./safetensors.ts";
import type { LazyArray } from "./safetensors.ts";
import { hubName } from "./weight-names.ts";
import type { Weights } from "./weights.ts";

/** Names of element types in files. */
const STORED = { float32: "F32", bfloat16: "BF16", float16: "F16" } as const;
/** Element type of saved weights. */
type FileDtype = keyof typeof STORED;
/** The largest value that float16 holds. */
const HALF_MAX = 65_504;

/** Refuses values that float16 would turn into infinity. */
function checkHalf(name: string, values: Float32Array): void {
  const bad = values.find((value) => Math.abs(value) > HALF_MAX);
  if (bad !== undefined) throw new QwenVlError(`${name} holds ${bad}, float16 ends at ${HALF_MAX}`, { code: "NOT_REPRESENTABLE", hint: "Save in bfloat16 or float32." });
}

/** Options of {@link saveWeights}. */
export interface SaveWeightsOptions {
  /** Element type in the files. */
  dtype: FileDtype;
  /** Names in the files: hub names (`old`) or module names (`new`). Default old. */
  names?: "old" | "new";
  /** Bytes of one file at most, unless one tensor has more. Default 4 GiB. */
  shardBytes?: number;
}

const CONFIG = "config.json";
/** What goes with the weights for people: terms of use and origin. */
const PAPERS = /^(?:licen[cs]e|notice|readme|provenance)(?:\.(?:md|txt))?$/iu;

/** A checkpoint's own files, and the cards that describe the weights that go. */
const isReplaceable = (name: string): boolean => isCheckpointFile(name) || PAPERS.test(name) || name === "dramascope.json";

async function refuseSource(source: string, target: string): Promise<void> {
  const [from, to] = await Promise.all([source, target].map((folder) => stat(folder).catch(() => undefined)));
  if (from && to && from.dev === to.dev && from.ino === to.ino) {
    throw new QwenVlError(`${target} is the folder that the model was loaded from`, { code: "CHECKPOINT_FOLDER", hint: "Give a new folder; the original stays as it is." });
  }
}

/** A configuration whose element type, wherever it stands, is that of the new files. */
function withDtype(config: unknown, dtype: SaveWeightsOptions["dtype"]): unknown {
  const root = config as Record<string, unknown>;
  const parts = [root, root["text_config"], root["vision_config"]].filter((part): part is Record<string, unknown> => typeof part === "object" && part !== null);
  for (const part of parts) for (const key of ["torch_dtype", "dtype"]) if (Object.hasOwn(part, key)) part[key] = dtype;
  return Object.hasOwn(root, "dtype") ? root : { ...root, torch_dtype: dtype };
}

/**
 * Writes a checkpoint folder: the weights, the settings of `source` (configuration, tokenizer, templates) and its papers (licence, notice,
 * readme, provenance). Nothing else is taken over: what else lies beside the weights speaks of the old ones. Whole or absent.
 */
export async function saveWeights(source: string, target: string, weights: Weights, options: SaveWeightsOptions): Promise<void> {
  checkWord("dtype", options.dtype, Object.keys(STORED));
  checkWord("names", options.names, ["old", "new"]);
  checkInteger("shardBytes", options.shardBytes, 1);
  await refuseSource(source, target);
  await refuseOtherFolder(target, { what: "a checkpoint", code: "CHECKPOINT_FOLDER", isOwn: isReplaceable });
  const config = withDtype(await readJson(join(source, CONFIG)), options.dtype);
  await writeFolderAtomically(target, async (temporary) => {
    for (const { name } of (await readdir(source, { withFileTypes: true })).filter((entry) => entry.isFile())) {
      if (name !== CONFIG && (SETTINGS.includes(name) || PAPERS.test(name))) await copyFile(join(source, name), join(temporary, name));
    }
    await writeFile(join(temporary, CONFIG), `${JSON.stringify(config, null, 2)}\n`);
    await writeShards(temporary, weights, options);
  });
}

async function writeShards(folder: string, weights: Weights, { dtype, names = "old", shardBytes = 2 ** 32 }: SaveWeightsOptions): Promise<void> {
  const width = dtype === "float32" ? 4 : 2;
  const shards: string[][] = [[]];
  let bytes = 0;
  let totalSize = 0;
  for (const name of weights.names) {
    const size = weights.shape(name).reduce((a, b) => a * b, width);
    if (bytes > 0 && bytes + size > shardBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(name);
    bytes += size;
    totalSize += size;
  }
  const map: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const number = (n: number): string => String(n).padStart(5, "0");
    const file = shards.length === 1 ? "model.safetensors" : `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    const tensors = shard.map((name): LazyArray => ({
      name: names === "old" ? hubName(name) : name,
      shape: weights.shape(name),
      values: async () => {
        const tensor = weights.read(name);
        try {
          const values = (await tensor.data()) as Float32Array;
          if (dtype === "float16") checkHalf(name, values);
          return values;
        } finally {
          tensor.dispose();
        }
      },
      dtype: STORED[dtype],
    }));
    for (const { name } of tensors) map[name] = file;
    await writeSafetensors(join(folder, file), tensors);
  }
  if (shards.length > 1) {
    await writeFile(join(folder, "model.safetensors.index.json"), `${JSON.stringify({ metadata: { total_size: totalSize }, weight_map: map }, null, 2)}\n`);
  }
}
