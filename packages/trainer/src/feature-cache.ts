import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { QwenVlConfig, Tf, VisionFeatures, VisionItem } from "@dramascope/qwen-vl";
import { writeFileAtomically } from "@dramascope/schema";

/** Where features of frames are kept between processes. */
export interface FeatureCacheOptions {
  /** Folder for a file of each sample's videos: four bytes a value, `hidden size` values a vision token. It may be emptied at any time. */
  folder: string;
  /** TensorFlow.js with the model's back end. */
  tf: Tf;
  /** All that features depend on beside the frames: the hash of the weights, how these are kept, and the back end. */
  identity: string;
  /** Hears of files that are damaged or cannot be written; both cost time alone. */
  onWarning?: ((text: string) => void) | undefined;
}

/** Features on disk, by the contents of the frames. */
export interface FeatureCache {
  /** Kept features of videos that are looked at together; undefined where there are none that are whole. The caller disposes them. */
  read(items: readonly VisionItem[]): Promise<VisionFeatures[] | undefined>;
  /** Keeps features, whole or not at all. */
  write(items: readonly VisionItem[], features: readonly VisionFeatures[]): Promise<void>;
}

/** Bytes of the hash before the values. */
const HASH_BYTES = 32;

const digest = (data: Uint8Array): Buffer => createHash("sha256").update(data).digest();
const isAbsent = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT";

/** Makes a cache in a folder. */
export function createFeatureCache({ vision }: QwenVlConfig, { folder, tf, identity, onWarning }: FeatureCacheOptions): FeatureCache {
  const tokensOf = ({ grid: [t, h, w] }: VisionItem): number => (t * h * w) / vision.spatialMergeSize ** 2;
  const width = vision.outHiddenSize;

  const pathOf = (items: readonly VisionItem[]): string => {
    const hash = createHash("sha256").update(JSON.stringify([identity, items.map(({ kind, grid, patches }) => [kind, grid, patches.constructor.name])]));
    for (const { patches } of items) hash.update(new Uint8Array(patches.buffer, patches.byteOffset, patches.byteLength));
    return join(folder, `${hash.digest("hex")}.features`);
  };

  return {
    read: async (items) => {
      const path = pathOf(items);
      let file: Buffer;
      try {
        file = await readFile(path);
      } catch (error) {
        if (!isAbsent(error)) onWarning?.(`${path} cannot be read (${(error as Error).message}): its frames are looked at again`);
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
    write: async (items, features) => {
      const path = pathOf(items);
      const parts: Float32Array[] = [];
      for (const { tensor } of features) parts.push((await tensor.data()) as Float32Array);
      const body = Buffer.concat(parts.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)));
      try {
        await writeFileAtomically(path, Buffer.concat([digest(body), body]));
      } catch (error) {
        onWarning?.(`${path} cannot be written (${(error as Error).message}): features are not kept`);
      }
    },
  };
}
