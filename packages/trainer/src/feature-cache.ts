import { createHash } from "node:crypto";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { QwenVlConfig, Tf, VisionFeatures, VisionItem } from "@dramascope/qwen-vl";
import { writeFileAtomically } from "@dramascope/schema";

/** Where features of frames are kept between processes. */
export interface FeatureCacheOptions {
  /** Folder for a file of each sample's videos: four bytes a value, `hidden size` values a vision token. It may be emptied at any time. */
  folder: string;
  /** TensorFlow.js with the model's back end. */
  tf: Tf;
  /** All that features depend on beside the frames and the version of the model's code: the hash of the weights, how these are kept, and the back end with its threads. */
  identity: string;
  /** Hears of files that are damaged, and once of a folder that cannot be written to, which ends the writing; both cost time alone. */
  onWarning?: ((text: string) => void) | undefined;
}

/** Features on disk, by the contents of the frames. */
export interface FeatureCache {
  /** Where features of videos that are looked at together are kept; the videos are read through once for it. */
  entry(items: readonly VisionItem[]): FeatureEntry;
}

/** Features of one group of videos on disk. */
interface FeatureEntry {
  /** Kept features; undefined where there are none that are whole. The caller disposes them. */
  read(): Promise<VisionFeatures[] | undefined>;
  /** Keeps features, whole or not at all. */
  write(features: readonly VisionFeatures[]): Promise<void>;
}

/** Bytes of the hash before the values. */
const HASH_BYTES = 32;
/** Of the files and their key; a change of either gets another number. */
const FORMAT = 1;
/** Names of files that were being written, as writing them atomically leaves them when a process is killed. */
const TEMPORARY = /^[0-9a-f]{64}\.features\.tmp-/u;
/** Age from which such a file is nobody's. */
const STALE_MS = 24 * 3600 * 1000;

const digest = (data: Uint8Array): Buffer => createHash("sha256").update(data).digest();
/** Also where the folder is none; writing says so. */
const isAbsent = (error: unknown): boolean => ["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "");

/** Removes what killed processes left behind; what cannot be removed stays. */
async function sweep(folder: string): Promise<void> {
  const names = await readdir(folder).catch((): string[] => []);
  for (const name of names.filter((one) => TEMPORARY.test(one))) {
    const path = join(folder, name);
    const age = await stat(path).then(({ mtimeMs }) => Date.now() - mtimeMs, () => 0);
    if (age > STALE_MS) await rm(path, { force: true }).catch(() => undefined);
  }
}

/** Makes a cache in a folder. */
export function createFeatureCache({ vision }: QwenVlConfig, { folder, tf, identity, onWarning }: FeatureCacheOptions): FeatureCache {
  const tokensOf = ({ grid: [t, h, w] }: VisionItem): number => (t * h * w) / vision.spatialMergeSize ** 2;
  const width = vision.outHiddenSize;
  const { version } = createRequire(import.meta.url)("@dramascope/qwen-vl/package.json") as { version: string };
  const swept = sweep(folder);
  let isWritable = true;

  const pathOf = (items: readonly VisionItem[]): string => {
    const hash = createHash("sha256").update(JSON.stringify([FORMAT, version, identity, items.map(({ kind, grid, patches }) => [kind, grid, patches.constructor.name])]));
    for (const { patches } of items) hash.update(new Uint8Array(patches.buffer, patches.byteOffset, patches.byteLength));
    return join(folder, `${hash.digest("hex")}.features`);
  };

  return {
    entry: (items) => {
      const path = pathOf(items);
      return {
        read: async () => {
          let file: Buffer;
          try {
            file = await readFile(path);
          } catch (error) {
            if (!isAbsent(error) && isWritable) onWarning?.(`${path} cannot be read (${(error as Error).message}): its frames are looked at again`);
            return undefined;
          }
          const count = items.reduce((sum, item) => sum + tokensOf(item) * width, 0);
          const body = file.subarray(HASH_BYTES);
          if (body.length !== 4 * count || !digest(body).equals(file.subarray(0, HASH_BYTES))) {
            onWarning?.(`${path} is damaged: its frames are looked at again`);
            return undefined;
          }
          // A copy of its own, for the file's bytes need not be aligned.
          const values = new Float32Array(new Uint8Array(body).buffer);
          let at = 0;
          return items.map((item): VisionFeatures => {
            const tokens = tokensOf(item);
            const tensor = tf.tensor2d(values.subarray(at, (at += tokens * width)), [tokens, width]);
            return { tensor, tokens, dispose: () => tensor.dispose() };
          });
        },
        write: async (features) => {
          await swept;
          if (!isWritable) return;
          const parts: Float32Array[] = [];
          for (const { tensor } of features) parts.push((await tensor.data()) as Float32Array);
          const body = Buffer.concat(parts.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)));
          try {
            await writeFileAtomically(path, Buffer.concat([digest(body), body]));
          } catch (error) {
            isWritable = false;
            onWarning?.(`${folder} cannot be written to (${(error as Error).message}): features are no longer kept`);
          }
        },
      };
    },
  };
}
