import { createHash } from "node:crypto";
import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { mapTensorFile } from "@dramascope/tensorflow";
import type { TensorFileEntry, TensorLike } from "@dramascope/tensorflow";
import { writeAtomically } from "@dramascope/schema";
import type { Checkpoint } from "./checkpoint.ts";
import { QwenVlError } from "./errors.ts";
import { narrowBrain } from "./float-bits.ts";
import { readWeight, storedForm } from "./load-weights.ts";
import { Runtime } from "./runtime.ts";
import type { LoadOptions } from "./model-types.ts";
import type { Tensor } from "./tensor-types.ts";
import { Weights } from "./weights.ts";
import type { StoredWeight } from "./weights.ts";

/** Another arrangement of the same weights must get another number: files of the old one are then strangers. */
const FORMAT = 1;
/** Tensors begin at multiples of this many bytes, or they could not be used where they are. */
const ALIGNMENT = 64;

interface CachedWeight extends Omit<StoredWeight, "blocks"> {
  name: string;
  blocks: TensorFileEntry[];
}

/** Where everything stands in the file, decided by the checkpoint's headers alone. */
interface CacheLayout {
  weights: CachedWeight[];
  bytes: number;
}

function layoutOf(checkpoint: Checkpoint, dtype: NonNullable<LoadOptions["dtype"]>): CacheLayout {
  let at = 0;
  const weights = [...checkpoint.tensors].map(([name, place]): CachedWeight => {
    const { blocks, ...form } = storedForm(name, place.file.info(place.name).shape, dtype);
    return {
      name, ...form,
      blocks: blocks.map((block, i) => {
        const offset = at;
        at += Math.ceil((block.shape.reduce((a, b) => a * b, block.dtype === "float32" ? 4 : 2)) / ALIGNMENT) * ALIGNMENT;
        return { name: `${name}#${i}`, ...block, offset };
      }),
    };
  });
  return { weights, bytes: at };
}

/** Name of the cache file: a hash of the arrangement and of what the checkpoint's files are at the moment, by their metadata. */
async function cacheName(checkpoint: Checkpoint, layout: CacheLayout): Promise<string> {
  const paths = [...new Set([...checkpoint.tensors.values()].map(({ file }) => file.path))].sort();
  const files = await Promise.all(paths.map(async (path) => {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].map(String);
  }));
  return `${createHash("sha256").update(JSON.stringify([FORMAT, files, layout])).digest("hex").slice(0, 32)}.weights`;
}

const bytesOf = (values: Float32Array | Uint16Array): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

async function writeBlock(runtime: Runtime, file: FileHandle, block: TensorLike, { dtype, offset }: TensorFileEntry): Promise<void> {
  const wide = runtime.run("cache", { x: block }, (ops, v) => ({ y: ops.cast(v["x"]!, "float32") }))["y"] as Tensor;
  try {
    const values = (await wide.data()) as Float32Array;
    const bytes = bytesOf(dtype === "float32" ? values : narrowBrain(values));
    for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done, Math.min(bytes.length - done, 2 ** 30), offset + done)).bytesWritten;
  } finally {
    wide.dispose();
  }
}

/** Writes the cache file, one weight in memory at a time. */
async function writeCache(path: string, checkpoint: Checkpoint, layout: CacheLayout, options: LoadOptions): Promise<void> {
  const { dtype = "float32", signal, onProgress } = options;
  const runtime = new Runtime(options.tf);
  const totalBytes = [...checkpoint.tensors.values()].reduce((sum, { file, name }) => sum + file.info(name).bytes, 0);
  let loadedBytes = 0;
  try {
    await writeAtomically(path, async (temporary) => {
      const file = await open(temporary, "w");
      try {
        for (const { name, blocks } of layout.weights) {
          signal?.throwIfAborted();
          const place = checkpoint.tensors.get(name)!;
          const weight = await readWeight(runtime, place, name, dtype, signal);
          try {
            for (const [i, block] of weight.blocks.entries()) await writeBlock(runtime, file, block, blocks[i]!);
          } finally {
            for (const block of weight.blocks) block.dispose();
          }
          loadedBytes += place.file.info(place.name).bytes;
          onProgress?.({ tensor: name, loadedBytes, totalBytes });
        }
        await file.truncate(layout.bytes);
      } finally {
        await file.close();
      }
    });
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).syscall !== "string") throw error;
    throw new QwenVlError(`${path} cannot be written: ${(error as Error).message}`, { code: "WEIGHT_CACHE", cause: error, hint: `It needs ${layout.bytes} bytes; give a folder that can take them, or load without a weight cache.` });
  } finally {
    runtime.dispose();
  }
}

/** Others who may write to the folder could put other weights in. */
async function openFolder(folder: string): Promise<void> {
  const refuse = (why: string, cause?: unknown): never => {
    throw new QwenVlError(`the weight cache ${JSON.stringify(folder)} ${why}`, { code: "WEIGHT_CACHE", cause, hint: "Give a folder of your own, or load without a weight cache." });
  };
  if (folder === "") refuse("has no name");
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => refuse(`cannot be made: ${(error as Error).message}`, error));
  const { uid, mode } = await stat(folder);
  if (process.getuid !== undefined && uid !== process.getuid()) refuse("belongs to another user");
  if ((mode & 0o022) !== 0) refuse("can be written to by others");
}

/** A file that nobody has written to for so long was left by a load that was killed. */
const ABANDONED_MS = 600_000;

async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!/^[0-9a-f]{32}\.weights\.tmp-/u.test(name)) continue;
    const path = join(folder, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > ABANDONED_MS) await rm(path, { force: true });
  }
}

const sizeOf = (path: string): Promise<number> => stat(path).then(({ size, mode }) => ((mode & 0o170000) === 0o100000 ? size : -1), () => -1);

/** Weights that are the pages of a file in `folder`, which is written when it is not there yet. */
export async function loadCachedWeights(checkpoint: Checkpoint, runtime: Runtime, options: LoadOptions, folder: string): Promise<Weights> {
  const { tf, dtype = "float32" } = options;
  const [first] = checkpoint.tensors.values();
  mapTensorFile(tf, first!.file.path, []); // says at once when this back end cannot map
  await openFolder(folder);
  const layout = layoutOf(checkpoint, dtype);
  const path = join(folder, await cacheName(checkpoint, layout));
  if ((await sizeOf(path)) !== layout.bytes) {
    await removeAbandoned(folder);
    await writeCache(path, checkpoint, layout, options);
  }
  const mapped = mapTensorFile(tf, path, layout.weights.flatMap(({ blocks }) => blocks));
  const weights = new Weights(runtime);
  for (const { name, shape, transposed, blocks } of layout.weights) weights.put(name, { shape, transposed, blocks: blocks.map((block) => mapped.get(block.name)!) });
  return weights;
}
