import { randomBytes } from "node:crypto";
import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { QwenVlError } from "./errors.ts";

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
  /** Reads and converts one tensor; nothing else is held. */
  read(name: string): Promise<SafetensorsTensor>;
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
    end = entry.start + entry.bytes;
  }
  return { entries, metadata };
}

async function readAt(file: FileHandle, path: string, position: number, bytes: number): Promise<Uint8Array> {
  const target = new Uint8Array(bytes);
  for (let done = 0; done < bytes; ) {
    const { bytesRead } = await file.read(target, done, Math.min(PIECE, bytes - done), position + done);
    if (bytesRead === 0) refuse(path, `it ends at byte ${position + done}, ${position + bytes} were promised`);
    done += bytesRead;
  }
  return target;
}

/** IEEE half to single, subnormals, infinities and NaN included. */
function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function convert(path: string, name: string, dtype: SafetensorsDtype, bytes: Uint8Array): SafetensorsTensor["values"] {
  const { buffer } = bytes;
  switch (dtype) {
    case "F32":
      return new Float32Array(buffer);
    case "F64":
      return new Float64Array(buffer);
    case "BF16": {
      const halves = new Uint16Array(buffer);
      const bits = new Uint32Array(halves.length);
      for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
      return new Float32Array(bits.buffer);
    }
    case "F16":
      return Float32Array.from(new Uint16Array(buffer), halfToFloat);
    case "I64": {
      const values = new BigInt64Array(buffer);
      return Float64Array.from(values, (value) => {
        const number = Number(value);
        if (!Number.isSafeInteger(number)) refuse(path, `tensor ${JSON.stringify(name)}: ${String(value)} does not fit a number`);
        return number;
      });
    }
    case "I32":
      return new Int32Array(buffer);
    case "I16":
      return Int32Array.from(new Int16Array(buffer));
    case "I8":
      return Int32Array.from(new Int8Array(buffer));
    case "U8":
    case "BOOL":
      return bytes;
  }
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
    const { size } = await file.stat();
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
      read: async (name) => {
        const { dtype, shape, bytes, start } = entryOf(name);
        const values = convert(path, name, dtype, await readAt(file, path, dataStart + start, bytes));
        return { dtype, shape, bytes, values };
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function toBytes(values: Float32Array, dtype: "F32" | "BF16" | "F16"): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const bits = new Uint32Array(values.buffer.slice(values.byteOffset, values.byteOffset + values.byteLength));
  const out = new Uint16Array(values.length);
  if (dtype === "BF16") {
    // Round to nearest even; NaN keeps a bit.
    for (let i = 0; i < bits.length; i++) out[i] = Number.isNaN(values[i]) ? 0x7fc0 : (bits[i]! + 0x7fff + ((bits[i]! >>> 16) & 1)) >>> 16;
  } else {
    for (let i = 0; i < values.length; i++) out[i] = floatToHalf(values[i]!);
  }
  return new Uint8Array(out.buffer);
}

/** Single to IEEE half, round to nearest even. */
function floatToHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude || 2 ** -30)));
  const scaled = magnitude / 2 ** (exponent - 10);
  let rounded = Math.floor(scaled);
  const rest = scaled - rounded;
  if (rest > 0.5 || (rest === 0.5 && rounded % 2 === 1)) rounded++;
  // A carry runs into the exponent by itself; subnormals have exponent field 0.
  return sign | (exponent === -14 && rounded < 1024 ? rounded : ((exponent + 14) << 10) + rounded);
}

/** Writes tensors as one file, whole or absent. */
export async function writeSafetensors(path: string, tensors: Iterable<NamedArray>, metadata: Readonly<Record<string, string>> = {}): Promise<void> {
  const list = [...tensors];
  const header: Record<string, unknown> = { __metadata__: { format: "pt", ...metadata } };
  let at = 0;
  for (const { name, shape, values, dtype = "F32" } of list) {
    const bytes = values.length * WIDTH[dtype];
    if (shape.reduce((a, b) => a * b, 1) !== values.length) throw new QwenVlError(`tensor ${name}: shape [${shape.join(", ")}] does not fit ${values.length} values`, { code: "BAD_SHAPE" });
    header[name] = { dtype, shape: [...shape], data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const json = Buffer.from(JSON.stringify(header), "utf8");
  const padded = Math.ceil(json.length / 8) * 8;
  const head = Buffer.alloc(8 + padded, 0x20);
  head.writeBigUInt64LE(BigInt(padded), 0);
  json.copy(head, 8);
  const temporary = `${path}.tmp-${process.pid}-${randomBytes(4).toString("hex")}`;
  const file = await open(temporary, "w");
  try {
    await file.writeFile(head);
    for (const { values, dtype = "F32" } of list) await file.writeFile(toBytes(values, dtype));
    await file.sync();
    await file.close();
    await rename(temporary, path);
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw error;
  }
}
