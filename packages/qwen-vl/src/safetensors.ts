import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { writeAtomically } from "@dramascope/schema";
import { QwenVlError } from "./errors.ts";
import { narrowBrain, narrowHalf } from "./float-bits.ts";
import { PIECE, readAt, readBytes, readValues, refuse, WIDTH } from "./safetensors-values.ts";
import type { SafetensorsDtype, SafetensorsInfo, SafetensorsTensor } from "./safetensors-values.ts";

/** Options of reading one tensor. */
export interface SafetensorsReadOptions {
  /** Entries of the first axis to read. Default all. */
  rows?: { first: number; count: number };
  /** Ends the reading between pieces. */
  signal?: AbortSignal | undefined;
}

/** An open file. */
export interface SafetensorsFile {
  readonly path: string;
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  info(name: string): SafetensorsInfo;
  /** Reads and converts one tensor, or some of its rows, in pieces of at most 64 MiB; only its values and one piece are held. */
  read(name: string, options?: SafetensorsReadOptions): Promise<SafetensorsTensor>;
  /** Bit patterns of a BF16 or F16 tensor, or of some of its rows. */
  readBits(name: string, options?: SafetensorsReadOptions): Promise<Uint16Array>;
  close(): Promise<void>;
}

const MAX_HEADER = 100_000_000;

/** A tensor to write. */
export interface NamedArray {
  name: string;
  shape: readonly number[];
  values: Float32Array;
  /** Default F32. */
  dtype?: "F32" | "BF16" | "F16";
}

/** A tensor whose values come when it is its turn to be written, so that no more than one is in memory. */
export interface LazyArray extends Omit<NamedArray, "values"> {
  values: () => Promise<Float32Array>;
}

const isDtype = (value: unknown): value is SafetensorsDtype => typeof value === "string" && Object.hasOwn(WIDTH, value);

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

/** The chosen rows of an entry: their info, and where they stand behind the header. */
function partOf(path: string, name: string, { dtype, shape, bytes, start }: Entry, rows: SafetensorsReadOptions["rows"]): SafetensorsInfo & { position: number } {
  if (rows === undefined) return { dtype, shape, bytes, position: start };
  const { first, count } = rows;
  const [length = 0, ...rest] = shape;
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(count) || first < 0 || count < 0 || first + count > length) {
    throw new QwenVlError(`${path}: tensor ${JSON.stringify(name)} of shape [${shape.join(", ")}] has no rows ${first} to ${first + count}`, { code: "BAD_OPTION", hint: "Rows are entries of the first axis." });
  }
  const rowBytes = rest.reduce((a, b) => a * b, WIDTH[dtype]);
  return { dtype, shape: [count, ...rest], bytes: count * rowBytes, position: start + first * rowBytes };
}

/**
 * Opens a safetensors file and checks its whole header; values are read one tensor at a time.
 *
 * @throws QwenVlError `SAFETENSORS_INVALID` naming file and tensor; nothing is allocated by the header's word.
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  // A pipe in the place of a file must not make the opening wait for a writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
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
      read: async (name, { rows, signal } = {}) => {
        const { position, ...info } = partOf(path, name, entryOf(name), rows);
        return { ...info, values: await readValues(file, path, name, info, dataStart + position, signal) };
      },
      readBits: async (name, { rows, signal } = {}) => {
        const { position, dtype, bytes } = partOf(path, name, entryOf(name), rows);
        if (dtype !== "BF16" && dtype !== "F16") throw new QwenVlError(`${path}: tensor ${JSON.stringify(name)} is ${dtype}, bit patterns are read from BF16 and F16`, { code: "SAFETENSORS_DTYPE", hint: "Use read()." });
        return new Uint16Array((await readBytes(file, path, bytes, dataStart + position, signal)).buffer);
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

const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function checkLength(name: string, shape: readonly number[], values: Float32Array): void {
  if (elements(shape) !== values.length) throw new QwenVlError(`tensor ${name}: shape [${shape.join(", ")}] does not fit ${values.length} values`, { code: "BAD_SHAPE" });
}

function createHeader(list: readonly (NamedArray | LazyArray)[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const entries = new Map<string, unknown>([["__metadata__", { format: "pt", ...metadata }]]);
  let at = 0;
  for (const { name, shape, values, dtype = "F32" } of list) {
    const bytes = elements(shape) * WIDTH[dtype];
    if (entries.has(name)) throw new QwenVlError(`there are two tensors ${JSON.stringify(name)}`, { code: "BAD_NAME", hint: "Give every tensor its own name; __metadata__ is taken." });
    if (typeof values !== "function") checkLength(name, shape, values);
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
export async function writeSafetensors(path: string, tensors: Iterable<NamedArray | LazyArray>, metadata: Readonly<Record<string, string>> = {}): Promise<void> {
  const list = [...tensors];
  const head = createHeader(list, metadata);
  await writeAtomically(path, async (temporary) => {
    const file = await open(temporary, "w");
    try {
      await file.writeFile(head);
      for (const { name, shape, values: given, dtype = "F32" } of list) {
        const values = typeof given === "function" ? await given() : given;
        checkLength(name, shape, values);
        for (let first = 0; first < values.length; first += PIECE / 4) await file.writeFile(toBytes(values.subarray(first, first + PIECE / 4), dtype));
      }
    } finally {
      await file.close();
    }
  });
}
