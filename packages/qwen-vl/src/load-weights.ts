import { uploadBfloat16 } from "@dramascope/tensorflow";
import type { Body, TensorLike } from "@dramascope/tensorflow";
import type { Checkpoint, CheckpointTensor } from "./checkpoint.ts";
import { narrowBrain } from "./float-bits.ts";
import { Runtime } from "./runtime.ts";
import type { LoadOptions } from "./model-types.ts";
import { isBlocked, isMatrix, isTransposed, Weights } from "./weights.ts";
import type { StoredWeight } from "./weights.ts";

/** Bytes of a matrix, as float32, that are read and uploaded at once. */
const UPLOAD_BYTES = 2 ** 24;
/** Bytes, as float32, of one block of a matrix over the vocabulary. */
const BLOCK_BYTES = 2 ** 26;

/** Rows of a matrix. */
interface Rows {
  first: number;
  count: number;
}

/** Consecutive rows of a matrix that take so many bytes as float32, at least one. */
function parts({ first, count }: Rows, columns: number, bytes: number): Rows[] {
  const size = Math.max(1, Math.floor(bytes / (4 * columns)));
  return Array.from({ length: Math.ceil(count / size) }, (_, i) => ({ first: first + i * size, count: Math.min(size, count - i * size) }));
}

/** How a matrix is kept. */
interface MatrixForm {
  columns: number;
  transposed: boolean;
  dtype: NonNullable<LoadOptions["dtype"]>;
}

async function readRows(runtime: Runtime, { file, name }: CheckpointTensor, rows: Rows, { columns, dtype }: MatrixForm, signal: AbortSignal | undefined): Promise<TensorLike> {
  const shape = [rows.count, columns];
  if (dtype === "bfloat16" && file.info(name).dtype === "BF16") return uploadBfloat16(runtime.tf, await file.readBits(name, { rows, signal }), shape);
  const values = (await file.read(name, { rows, signal })).values as Float32Array;
  return dtype === "bfloat16" ? uploadBfloat16(runtime.tf, narrowBrain(values), shape) : runtime.floats(values, shape);
}

/** Rows of a matrix as the back end keeps them, put together from pieces: the host holds one piece. */
async function uploadRows(runtime: Runtime, place: CheckpointTensor, rows: Rows, form: MatrixForm, signal: AbortSignal | undefined): Promise<TensorLike> {
  // The order of the axes may stay: the operation is what makes TensorFlow.js let go of the host's copy.
  const permutation = form.transposed ? [1, 0] : [0, 1];
  const turn: Body = (ops, v) => ({ y: ops.transpose(v["x"]!, permutation) });
  const join: Body = (ops, v) => ({ y: ops.concat(Object.values(v), form.transposed ? 1 : 0) });
  const pieces: TensorLike[] = [];
  try {
    for (const piece of parts(rows, form.columns, UPLOAD_BYTES)) {
      const x = await readRows(runtime, place, piece, form, signal);
      try {
        pieces.push(runtime.run<TensorLike>(`piece:${permutation.join("")}`, { x }, turn)["y"]!);
      } finally {
        x.dispose();
      }
    }
    if (pieces.length === 1) return pieces.pop()!;
    return runtime.run<TensorLike>(`join:${permutation.join("")}`, Object.fromEntries(pieces.map((piece, i) => [`p${i}`, piece])), join)["y"]!;
  } finally {
    for (const piece of pieces) piece.dispose();
  }
}

/** How a weight is kept: shape and type of its blocks, and the rows of the checkpoint that each matrix block holds. */
export interface StoredForm extends Omit<StoredWeight, "blocks"> {
  blocks: { shape: readonly number[]; dtype: MatrixForm["dtype"]; rows: Rows }[];
}

/** How a weight of this name and shape is kept. */
export function storedForm(name: string, shape: readonly number[], dtype: MatrixForm["dtype"]): StoredForm {
  const [count = 1, ...rest] = shape;
  const all: Rows = { first: 0, count };
  const transposed = isTransposed(name, shape);
  if (!isMatrix(shape)) return { shape, transposed, blocks: [{ shape, dtype: "float32", rows: all }] };
  const columns = rest.reduce((a, b) => a * b, 1);
  const cut = isBlocked(name) ? parts(all, columns, BLOCK_BYTES) : [all];
  return { shape, transposed, blocks: cut.map((rows) => ({ shape: transposed ? [columns, rows.count] : [rows.count, columns], dtype, rows })) };
}

/** Reads one weight, in pieces, onto the back end. */
export async function readWeight(runtime: Runtime, place: CheckpointTensor, name: string, dtype: MatrixForm["dtype"], signal: AbortSignal | undefined): Promise<StoredWeight> {
  const { blocks: wanted, shape, transposed } = storedForm(name, place.file.info(place.name).shape, dtype);
  if (!isMatrix(shape)) return { shape, transposed, blocks: [runtime.floats((await place.file.read(place.name, { signal })).values as Float32Array, shape)] };
  const columns = shape.slice(1).reduce((a, b) => a * b, 1);
  const blocks: TensorLike[] = [];
  try {
    for (const { rows } of wanted) blocks.push(await uploadRows(runtime, place, rows, { columns, transposed, dtype }, signal));
    return { shape, transposed, blocks };
  } catch (error) {
    for (const block of blocks) block.dispose();
    throw error;
  }
}

/** Reads a checkpoint's weights tensor by tensor, in pieces, onto the back end. */
export async function loadWeights(checkpoint: Checkpoint, runtime: Runtime, options: LoadOptions): Promise<Weights> {
  const { dtype = "float32", signal, onProgress } = options;
  const weights = new Weights(runtime);
  const loading = new Runtime(options.tf);
  const totalBytes = [...checkpoint.tensors.values()].reduce((sum, { file, name }) => sum + file.info(name).bytes, 0);
  let loadedBytes = 0;
  try {
    for (const [name, place] of checkpoint.tensors) {
      signal?.throwIfAborted();
      weights.put(name, await readWeight(loading, place, name, dtype, signal));
      loadedBytes += place.file.info(place.name).bytes;
      onProgress?.({ tensor: name, loadedBytes, totalBytes });
    }
    return weights;
  } catch (error) {
    weights.dispose();
    throw error;
  } finally {
    loading.dispose();
  }
}
