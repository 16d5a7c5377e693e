/** How a context of TensorFlow is made. */
export interface ContextOptions {
  /** Threads inside one operation; default all cores. */
  threads?: number;
  /** `cpu` hides every GPU. */
  device?: "auto" | "cpu" | "gpu";
  /** Which of the visible GPUs; default the first. */
  gpuIndex?: number;
}

/** A number as protocol buffers write it: seven bits a byte, the lowest first. */
function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** A field of known length. */
const field = (tag: number, bytes: readonly number[]): number[] => [tag, ...varint(bytes.length), ...bytes];

/** ConfigProto, written by hand: devices, threads, memory growth, choice of GPU, soft placement. */
export function configBytes({ threads, device, gpuIndex }: ContextOptions): Uint8Array {
  const noGpu = device === "cpu" ? field(0x0a, [...field(0x0a, [...Buffer.from("GPU")]), 0x10, 0]) : [];
  const ownThreads = threads === undefined ? [] : [0x10, ...varint(threads)];
  const gpuOptions = [0x20, 0x01, ...(gpuIndex === undefined ? [] : field(0x2a, [...Buffer.from(String(gpuIndex))]))];
  return Uint8Array.from([...noGpu, ...ownThreads, ...field(0x32, gpuOptions), 0x38, 0x01]);
}
