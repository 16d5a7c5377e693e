import { uploadBfloat16 } from "@dramascope/tensorflow";
import type { Body, TensorLike } from "@dramascope/tensorflow";
import type { Checkpoint, CheckpointTensor } from "./checkpoint.ts";
import { narrowBrain } from "./float-bits.ts";
import { Runtime } from "./runtime.ts";
import { PIECE } from "./safetensors-values.ts";
import type { LoadOptions } from "./types.ts";
import { isBlocked, isMatrix, isTransposed, Weights } from "./weights.ts";

/** How matrices are kept. */
type MatrixDtype = NonNullable<LoadOptions["dtype"]>;

/** Rows [first, first + count) of matrices, at most a piece of 64 MiB as float32 at once. */
function rowRanges(rows: number, columns: number): { first: number; count: number }[] {
  const size = Math.max(1, Math.floor(PIECE / (4 * columns)));
  return Array.from({ length: Math.ceil(rows / size) }, (_, i) => ({ first: i * size, count: Math.min(size, rows - i * size) }));
}

async function readPiece(runtime: Runtime, { file, name }: CheckpointTensor, rows: { first: number; count: number }, columns: number, dtype: MatrixDtype, signal: AbortSignal | undefined): Promise<TensorLike> {
  const shape = [rows.count, columns];
  if (dtype === "bfloat16" && file.info(name).dtype === "BF16") return uploadBfloat16(runtime.tf, await file.readBits(name, { rows, signal }), shape);
  const values = (await file.read(name, { rows, signal })).values as Float32Array;
  return dtype === "bfloat16" ? uploadBfloat16(runtime.tf, narrowBrain(values), shape) : runtime.floats(values, shape);
}

/** What becomes of a matrix: its pieces turned, and joined unless they stay apart. */
interface MatrixForm {
  transposed: boolean;
  blocked: boolean;
  dtype: MatrixDtype;
}

/** A matrix as the back end keeps it; on the host stands one piece of it. */
async function uploadMatrix(runtime: Runtime, place: CheckpointTensor, { transposed, blocked, dtype }: MatrixForm, signal: AbortSignal | undefined): Promise<TensorLike[]> {
  const [rows = 0, ...rest] = place.file.info(place.name).shape;
  const columns = rest.reduce((a, b) => a * b, 1);
  // The order of the axes may stay: the operation is what makes TensorFlow.js let go of the host's copy.
  const permutation = transposed ? [1, 0] : [0, 1];
  const turn: Body = (ops, v) => ({ y: ops.transpose(v["x"]!, permutation) });
  const join: Body = (ops, v) => ({ y: ops.concat(Object.values(v), transposed ? 1 : 0) });
  const pieces: TensorLike[] = [];
  try {
    for (const range of rowRanges(rows, columns)) {
      const x = await readPiece(runtime, place, range, columns, dtype, signal);
      try {
        pieces.push(runtime.run<TensorLike>(`piece:${permutation.join("")}`, { x }, turn)["y"]!);
      } finally {
        x.dispose();
      }
    }
    if (blocked || pieces.length === 1) return pieces.splice(0);
    return [runtime.run<TensorLike>(`join:${permutation.join("")}`, Object.fromEntries(pieces.map((piece, i) => [`p${i}`, piece])), join)["y"]!];
  } finally {
    for (const piece of pieces) piece.dispose();
  }
}

/** Reads a checkpoint's weights tensor by tensor, in pieces, onto the back end. */
export async function loadWeights(checkpoint: Checkpoint, runtime: Runtime, options: LoadOptions): Promise<Weights> {
  const { dtype = "float32", signal, onProgress } = options;
  const weights = new Weights(runtime);
  const loading = new Runtime(options.tf);
  const entries = [...checkpoint.tensors].map(([name, place]) => ({ name, place, info: place.file.info(place.name) }));
  const totalBytes = entries.reduce((sum, { info }) => sum + info.bytes, 0);
  let loadedBytes = 0;
  try {
    for (const { name, place, info } of entries) {
      signal?.throwIfAborted();
      const transposed = isTransposed(name, info.shape);
      const blocks = isMatrix(info.shape)
        ? await uploadMatrix(loading, place, { transposed, blocked: isBlocked(name), dtype }, signal)
        : [loading.floats((await place.file.read(place.name, { signal })).values as Float32Array, info.shape)];
      weights.put(name, { blocks, shape: info.shape, transposed });
      loadedBytes += info.bytes;
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
