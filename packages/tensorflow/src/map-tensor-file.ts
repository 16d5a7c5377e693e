import type * as tfjs from "@tensorflow/tfjs";
import { elementCount } from "./element-count.ts";
import { TensorFlowError } from "./errors.ts";
import { bindingOf, type NodeBackend } from "./native/backend.ts";
import { MAP_ALIGNMENT, mapFile } from "./native/mapped-file.ts";
import { RawTensor, type TensorLike } from "./raw-tensor.ts";

/** One tensor in a file of raw little-endian values. */
export interface TensorFileEntry {
  /** Key of the tensor in the result; different for every entry. */
  name: string;
  /** Element type: four or two bytes each. */
  dtype: "float32" | "bfloat16";
  /** Sizes of the axes, row-major. */
  shape: readonly number[];
  /** Where its first byte is in the file, a multiple of 64. */
  offset: number;
}

const refuse = (path: string, name: string, what: string): TensorFlowError =>
  new TensorFlowError(`${path}: tensor ${JSON.stringify(name)} ${what}`, { code: "MAP_ENTRY", hint: `Give entries of different names that lie inside the file, at offsets that are multiples of ${MAP_ALIGNMENT} bytes.` });

/**
 * Tensors that are the pages of a file: nothing is read before it is used, nothing is copied (on a GPU: to the device only; a size that is no multiple
 * of 64 bytes: that tensor), and processes that map the same file share the memory. The file is unmapped when the last tensor, and whatever was derived from it
 * without copying, is disposed. Writing to a tensor in place does not reach the file.
 *
 * The file must not be shortened while it is mapped: reading a page that is gone ends the process.
 *
 * @param tf      TensorFlow.js on native TensorFlow through koffi.
 * @param entries Which parts of the file are tensors; they may overlap.
 * @returns       The tensors by name: a {@link RawTensor} for bfloat16. The caller disposes them; `tf.tidy` knows the float32 ones.
 * @throws TensorFlowError `MAP_UNAVAILABLE` on any other back end, `MAP_FILE` for a file that cannot be mapped, `MAP_ENTRY` for an entry that is misaligned or outside the file, `TENSOR_SHAPE` for
 *         a shape that no tensor has.
 */
export function mapTensorFile(tf: typeof tfjs, path: string, entries: readonly TensorFileEntry[]): Map<string, TensorLike> {
  const backend = tf.backend();
  const binding = bindingOf(backend);
  if (!binding) throw new TensorFlowError(`the back end ${tf.getBackend()} cannot map files`, { code: "MAP_UNAVAILABLE", hint: "Read the file and upload its values, or use a native TensorFlow through koffi." });
  const file = mapFile(binding, path);
  const tensors = new Map<string, TensorLike>();
  try {
    for (const { name, dtype, shape, offset } of entries) {
      if (tensors.has(name)) throw refuse(path, name, "is named twice");
      const bytes = elementCount(shape, `${path}: tensor ${JSON.stringify(name)}`) * (dtype === "float32" ? 4 : 2);
      if (!Number.isSafeInteger(offset) || offset < 0 || offset % MAP_ALIGNMENT !== 0) throw refuse(path, name, `starts at byte ${offset}, which is no multiple of ${MAP_ALIGNMENT}`);
      if (!(offset + bytes <= file.bytes)) throw refuse(path, name, `needs bytes ${offset} to ${offset + bytes}, the file has ${file.bytes}`);
      const metadata = file.cut({ offset, bytes, shape, dtype });
      tensors.set(name, dtype === "bfloat16" ? new RawTensor(binding, metadata.id, metadata.shape) : (backend as unknown as NodeBackend).createOutputTensor(metadata));
    }
    return tensors;
  } catch (error) {
    for (const tensor of tensors.values()) tensor.dispose();
    throw error;
  } finally {
    file.release();
  }
}
