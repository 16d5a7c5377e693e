import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { TensorFlowError } from "../errors.ts";
import type { Binding, TensorMetadata } from "./binding.ts";
import { TF_DTYPES } from "./dtypes.ts";

/** Tensors start at multiples of this many bytes: TensorFlow copies any other memory in silence. */
export const MAP_ALIGNMENT = 64;

const PROT_READ = 0x1;
const PROT_WRITE = 0x2;
const MAP_PRIVATE = 0x02;
const MAP_NORESERVE = 0x4000;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** A part of a mapped file as one tensor. */
interface MappedPart {
  offset: number;
  bytes: number;
  shape: readonly number[];
  dtype: "float32" | "bfloat16";
}

/** A file in memory from which tensors are cut; it stays mapped until {@link MappedFile.release} and the last tensor that shares its pages are gone. */
export interface MappedFile {
  /** Size of the file. */
  bytes: number;
  /** A tensor over the file's own pages where its size is a multiple of {@link MAP_ALIGNMENT} bytes; a smaller rest makes it a copy. */
  cut(part: MappedPart): TensorMetadata;
  /** Gives up the right to cut. */
  release(): void;
}

/**
 * Maps a file. All of it is one tensor of 64-byte rows whose deallocator is C's `munmap`; parts are cut by operations that share memory, so that
 * TensorFlow's own counting, which also knows tensors derived from these, decides when nothing needs the pages any more.
 */
export function mapFile(binding: Binding, path: string): MappedFile {
  const { c, hostHandle, toDevice } = binding.raw;
  const { base, bytes } = mapPages(binding, path);
  const rows = Math.ceil(bytes / MAP_ALIGNMENT);
  const dims = BigInt64Array.of(BigInt(rows), BigInt(MAP_ALIGNMENT));
  // Length and address are munmap's arguments; it rounds the length up to whole pages.
  const whole = hostHandle(c.TF_NewTensor(TF_DTYPES.uint8, dims, 2, base, rows * MAP_ALIGNMENT, c.dlsym(null, "munmap"), null) as bigint);

  const cut = ({ offset, bytes: size, shape, dtype }: MappedPart): TensorMetadata => {
    const width = dtype === "float32" ? 4 : 2;
    const held: bigint[] = [];
    const hold = (handle: bigint): bigint => {
      held.push(handle);
      return handle;
    };
    const longs = (...values: number[]): bigint => hold(hostHandle(binding.raw.hostTensor([values.length], TF_DTYPES.int64, BigInt64Array.from(values, BigInt))));
    const step = (name: string, inputs: bigint[], attribute?: { name: string; value: number }): bigint => {
      const { id } = binding.executeOnHost(name, attribute ? [{ ...attribute, type: binding.TF_ATTR_TYPE }] : [], inputs);
      return hold(binding.take(id));
    };
    try {
      const partRows = Math.ceil(size / MAP_ALIGNMENT);
      const elements = (partRows * MAP_ALIGNMENT) / width;
      let part = step("Slice", [whole, longs(offset / MAP_ALIGNMENT, 0), longs(partRows, MAP_ALIGNMENT)]);
      part = step("Bitcast", [step("Reshape", [part, longs(elements, width)])], { name: "type", value: TF_DTYPES[dtype] });
      if (elements * width > size) part = step("Slice", [part, longs(0), longs(size / width)]);
      part = step("Reshape", [part, longs(...shape)]);
      if (size > 0 && size % MAP_ALIGNMENT === 0) assertAddress(binding, part, base + BigInt(offset));
      held.pop();
      return binding.adopt(toDevice(part, TF_DTYPES[dtype]));
    } finally {
      for (const handle of held) c.TFE_DeleteTensorHandle(handle);
    }
  };
  return { bytes, cut, release: () => void c.TFE_DeleteTensorHandle(whole) };
}

/** The file's pages, private to this process: what writes into a tensor in place never reaches the file. */
function mapPages(binding: Binding, path: string): { base: bigint; bytes: number } {
  const refuse = (what: string, cause?: unknown): TensorFlowError => new TensorFlowError(`${path} ${what}`, { code: "MAP_FILE", hint: "Give a readable file that is not empty, on a file system that can be mapped.", cause });
  let file: number;
  try {
    // A pipe without a writer would keep the open waiting.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw refuse(`cannot be opened: ${(error as Error).message}`, error);
  }
  try {
    const status = fstatSync(file);
    if (!status.isFile()) throw refuse("is no file");
    const bytes = status.size;
    if (bytes === 0) throw refuse("is empty");
    const base = binding.raw.c.mmap(null, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, 0) as bigint | null;
    if (base === null || base === MAP_FAILED) throw refuse("cannot be mapped");
    return { base, bytes };
  } finally {
    closeSync(file);
  }
}

function assertAddress({ raw: { c, status, check } }: Binding, handle: bigint, expected: bigint): void {
  const tensor = c.TFE_TensorHandleResolve(handle, status) as bigint;
  check();
  const address = c.TF_TensorData(tensor) as bigint;
  c.TF_DeleteTensor(tensor);
  if (address !== expected) throw new TensorFlowError("TensorFlow copied a mapped tensor instead of using the file's pages", { code: "MAP_COPIED", hint: "Use the TensorFlow release that the README names, or upload the values." });
}
