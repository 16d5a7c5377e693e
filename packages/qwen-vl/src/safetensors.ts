import { open, type FileHandle } from "node:fs/promises";
import { writeAtomically } from "@dramascope/schema";
import { QwenVlError } from "./errors.ts";
import { narrowBrain, narrowHalf, widenBrain, widenHalf } from "./float-bits.ts";

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

/** An open file. */
export interface SafetensorsFile {
  readonly path: string;
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  info(name: string): SafetensorsInfo;
  /** Reads and converts one tensor in pieces of at most 64 MiB; only its values and one piece are held. `signal` ends it between pieces. */
  read(name: string, options?: { signal?: AbortSignal | undefined }): Promise<SafetensorsTensor>;
  close(): Promise<void>;
}

/** A tensor to write: float32 values unless `dtype` says otherwise. */
export interface NamedArray {
  name: string;
  shape: readonly number[];
  values: Float32Array;
  /** Default F32. */
  dtype?: "F32" | "BF16" | "F16";
}

const WIDTH: Readonly<Record<SafetensorsDtype, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 };
const MAX_HEADER = 100_000_000;
const PIECE = 64 * 1024 * 1024;

const isDtype = (value: unknown): value is SafetensorsDtype => typeof value === "string" && Object.hasOwn(WIDTH, value);

function refuse(path: string, what: string): never {
  throw new QwenVlError(`${path}: ${what}`, { code: "SAFETENSORS_INVALID", hint: "The file is damaged or is not safetensors: fetch it again." });
}

interface Entry extends SafetensorsInfo {
  start: number;
}

/** Checks one header entry against the file's size before anything is allocated by its word. */
function readEntry(path: string, name: string, value: unknown, dataBytes: number): Entry {
  if (typeof value !== "object" || value === null) refuse(path, `tensor ${JSON.stringify(name)}: its entry is not an object`);
  const { dtype, shape, data_offsets: offsets } = value as { dtype?: unknown; shape?: unknown; data_offsets?: unknown };
  if (!isDtype(dtype)) refuse(path, `tensor ${JSON.stringify(name)}: unknown dtype ${JSON.stringify(dtype)}`);
  const isSize = (entry: unknown): entry is number => Number.isSafeInteger(entry) && (entry as number) >= 0;
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isSize)) refuse(path, `tensor ${JSON.stringify(name)}: unusable shape`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) refuse(path, `tensor ${JSON.stringify(name)}: unusable data_offsets`);
  const [begin, end] = [offsets[0]!, offsets[1]!];
  if (begin > end || end > dataBytes) refuse(path, `tensor ${JSON.stringify(name)}: data_offsets ${begin}..${end} lie outside the file's ${dataBytes} data bytes`);
  const bytes = shape.reduce((a, b) => a * b, WIDTH[dtype]);
  if (bytes !== end - begin) refuse(path, `tensor ${JSON.stringify(name)}: shape and dtype need ${bytes} bytes, data_offsets hold ${end - begin}`);
  return { dtype, shape, bytes, start: begin };
}

function readHeader(path: string, text: string, dataBytes: number): { entries: Map<string, Entry>; metadata: Record<string, string> } {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    refuse(path, `its header is not JSON (${(error as Error).message})`);
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) refuse(path, "its header is not a JSON object");
  const entries = new Map<string, Entry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(header as Record<string, unknown>)) {
    if (name !== "__metadata__") entries.set(name, readEntry(path, name, value, dataBytes));
    else if (typeof value === "object" && value !== null) metadata = Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, String(entry)]));
  }
  const ordered = [...entries].filter(([, { bytes }]) => bytes > 0).sort(([, a], [, b]) => a.start - b.start);
  let end = 0;
  for (const [name, entry] of ordered) {
    if (entry.start < end) refuse(path, `tensor ${JSON.stringify(name)} overlaps another one`);
    if (entry.start > end) refuse(path, `data bytes ${end}..${entry.start} belong to no tensor`);
    end = entry.start + entry.bytes;
  }
  // A name that the header gives twice shows here as well: the bytes of the first are left over.
  if (end < dataBytes) refuse(path, `data bytes ${end}..${dataBytes} belong to no tensor`);
  return { entries, metadata };
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

async function readAt(file: FileHandle, path: string, position: number, bytes: number): Promise<Uint8Array> {
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
async function readValues(file: FileHandle, path: string, name: string, { dtype, bytes }: SafetensorsInfo, position: number, signal: AbortSignal | undefined): Promise<SafetensorsTensor["values"]> {
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

/**
 * Opens a safetensors file and checks its whole header; values are read one tensor at a time.
 *
 * @throws QwenVlError `SAFETENSORS_INVALID` naming file and tensor; nothing is allocated by the header's word.
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await open(path, "r").catch((error: unknown) => {
    throw new QwenVlError(`${path} cannot be opened: ${(error as Error).message}`, { code: "SAFETENSORS_MISSING", cause: error, hint: "Check the checkpoint folder." });
  });
  try {
    const stat = await file.stat();
    if (!stat.isFile()) refuse(path, "it is not a file");
    const { size } = stat;
    if (size < 8) refuse(path, `it has ${size} bytes, too few for a header`);
    const length = new DataView((await readAt(file, path, 0, 8)).buffer).getBigUint64(0, true);
    if (length > BigInt(Math.min(MAX_HEADER, size - 8))) refuse(path, `it promises a header of ${String(length)} bytes`);
    const headerBytes = Number(length);
    const text = new TextDecoder("utf-8", { fatal: false }).decode(await readAt(file, path, 8, headerBytes));
    const dataStart = 8 + headerBytes;
    const { entries, metadata } = readHeader(path, text, size - dataStart);
    const entryOf = (name: string): Entry => {
      const entry = entries.get(name);
      if (!entry) throw new QwenVlError(`${path} holds no tensor ${JSON.stringify(name)}`, { code: "SAFETENSORS_TENSOR", hint: "Check that the file belongs to this checkpoint." });
      return entry;
    };
    return {
      path,
      names: [...entries.keys()],
      metadata,
      info: (name) => {
        const { dtype, shape, bytes } = entryOf(name);
        return { dtype, shape, bytes };
      },
      read: async (name, { signal } = {}) => {
        const { dtype, shape, bytes, start } = entryOf(name);
        return { dtype, shape, bytes, values: await readValues(file, path, name, { dtype, shape, bytes }, dataStart + start, signal) };
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function toBytes(values: Float32Array, dtype: "F32" | "BF16" | "F16"): Uint8Array {
  const stored = dtype === "F32" ? values : dtype === "BF16" ? narrowBrain(values) : narrowHalf(values);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

function createHeader(list: readonly NamedArray[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const entries = new Map<string, unknown>([["__metadata__", { format: "pt", ...metadata }]]);
  let at = 0;
  for (const { name, shape, values, dtype = "F32" } of list) {
    const bytes = values.length * WIDTH[dtype];
    if (entries.has(name)) throw new QwenVlError(`there are two tensors ${JSON.stringify(name)}`, { code: "BAD_NAME", hint: "Give every tensor its own name; __metadata__ is taken." });
    if (shape.reduce((a, b) => a * b, 1) !== values.length) throw new QwenVlError(`tensor ${name}: shape [${shape.join(", ")}] does not fit ${values.length} values`, { code: "BAD_SHAPE" });
    entries.set(name, { dtype, shape: [...shape], data_offsets: [at, at + bytes] });
    at += bytes;
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)), "utf8");
  const padded = Math.ceil(json.length / 8) * 8;
  const head = Buffer.alloc(8 + padded, 0x20);
  head.writeBigUInt64LE(BigInt(padded), 0);
  json.copy(head, 8);
  return head;
}

/** Writes tensors as one file, whole or absent; missing folders are made. */
export async function writeSafetensors(path: string, tensors: Iterable<NamedArray>, metadata: Readonly<Record<string, string>> = {}): Promise<void> {
  const list = [...tensors];
  const head = createHeader(list, metadata);
  await writeAtomically(path, async (temporary) => {
    const file = await open(temporary, "w");
    try {
      await file.writeFile(head);
      for (const { values, dtype = "F32" } of list) {
        for (let first = 0; first < values.length; first += PIECE / 4) await file.writeFile(toBytes(values.subarray(first, first + PIECE / 4), dtype));
      }
    } finally {
      await file.close();
    }
  });
}
