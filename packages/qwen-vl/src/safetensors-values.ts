import type { FileHandle } from "node:fs/promises";
import { QwenVlError } from "./errors.ts";
import { widenBrain, widenHalf } from "./float-bits.ts";

/** Element types of the format. */
export type SafetensorsDtype = "F64" | "F32" | "F16" | "BF16" | "I64" | "I32" | "I16" | "I8" | "U8" | "BOOL";

/** Where a tensor stands and what it holds. */
export interface SafetensorsInfo {
  dtype: SafetensorsDtype;
  shape: readonly number[];
  /** Bytes of its values. */
  bytes: number;
}

/** Values of a tensor: floats as Float32Array (F64 as Float64Array), integers as numbers. */
export interface SafetensorsTensor extends SafetensorsInfo {
  values: Float32Array | Float64Array | Int32Array | Uint8Array;
}

/** Bytes of one element. */
export const WIDTH: Readonly<Record<SafetensorsDtype, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 };
/** Bytes read or written at once. */
export const PIECE = 64 * 1024 * 1024;

/** Refuses a file that is damaged or something else. */
export function refuse(path: string, what: string): never {
  throw new QwenVlError(`${path}: ${what}`, { code: "SAFETENSORS_INVALID", hint: "The file is damaged or is not safetensors: fetch it again." });
}

/** Fills the target from a place of the file. */
async function readInto(file: FileHandle, path: string, position: number, target: Uint8Array): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const piece = target.subarray(done, done + PIECE);
    const { bytesRead } = await file.read(piece, 0, piece.length, position + done);
    if (bytesRead === 0) refuse(path, `it ends at byte ${position + done}, ${position + target.length} were promised`);
    done += bytesRead;
  }
}

/** Bytes of a place of the file. */
export async function readAt(file: FileHandle, path: string, position: number, bytes: number): Promise<Uint8Array> {
  const target = new Uint8Array(bytes);
  await readInto(file, path, position, target);
  return target;
}

/** Room for a tensor's values. */
function createValues(dtype: SafetensorsDtype, count: number): SafetensorsTensor["values"] {
  switch (dtype) {
    case "F32":
    case "BF16":
    case "F16":
      return new Float32Array(count);
    case "F64":
    case "I64":
      return new Float64Array(count);
    case "I32":
    case "I16":
    case "I8":
      return new Int32Array(count);
    case "U8":
    case "BOOL":
      return new Uint8Array(count);
  }
}

/** Converts a piece of a tensor, from the start of a buffer, into its places among the values. */
function convert(path: string, name: string, dtype: SafetensorsDtype, buffer: ArrayBuffer, target: SafetensorsTensor["values"]): void {
  const count = target.length;
  if (dtype === "BF16") widenBrain(new Uint16Array(buffer, 0, count), target as Float32Array);
  else if (dtype === "F16") widenHalf(new Uint16Array(buffer, 0, count), target as Float32Array);
  else if (dtype === "I16") target.set(new Int16Array(buffer, 0, count));
  else if (dtype === "I8") target.set(new Int8Array(buffer, 0, count));
  else if (dtype === "I64") {
    new BigInt64Array(buffer, 0, count).forEach((value, i) => {
      const number = Number(value);
      if (!Number.isSafeInteger(number)) refuse(path, `tensor ${JSON.stringify(name)}: ${String(value)} does not fit a number`);
      target[i] = number;
    });
  }
}

/** Types whose bytes are the values. */
const AS_STORED: readonly SafetensorsDtype[] = ["F32", "F64", "I32", "U8", "BOOL"];

/** Values of one tensor; what is held beside them is one piece. */
export async function readValues(file: FileHandle, path: string, name: string, { dtype, bytes }: SafetensorsInfo, position: number, signal: AbortSignal | undefined): Promise<SafetensorsTensor["values"]> {
  const width = WIDTH[dtype];
  const values = createValues(dtype, bytes / width);
  const isStored = AS_STORED.includes(dtype);
  const piece = new Uint8Array(isStored ? values.buffer : new ArrayBuffer(Math.min(bytes, PIECE)));
  for (let done = 0; done < bytes; done += PIECE) {
    signal?.throwIfAborted();
    const end = Math.min(bytes, done + PIECE);
    await readInto(file, path, position + done, isStored ? piece.subarray(done, end) : piece.subarray(0, end - done));
    if (!isStored) convert(path, name, dtype, piece.buffer as ArrayBuffer, values.subarray(done / width, end / width));
  }
  return values;
}

/** Bytes of one tensor as they stand. */
export async function readBytes(file: FileHandle, path: string, bytes: number, position: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const target = new Uint8Array(bytes);
  for (let done = 0; done < bytes; done += PIECE) {
    signal?.throwIfAborted();
    await readInto(file, path, position + done, target.subarray(done, done + PIECE));
  }
  return target;
}
