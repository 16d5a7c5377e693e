import { open, type FileHandle } from "node:fs/promises";

/** What the `moov` box of an MP4 or MOV says beside the sample tables. */
export interface MovieHeader {
  /** Seconds that `mvhd` claims; 0 when it claims none. */
  seconds: number;
  /** A track's sample entry is `encv` or `enca`. */
  isEncrypted: boolean;
}

const MAX_TOP_BOXES = 10_000;
const MAX_MOOV_BYTES = 64 * 2 ** 20;
const PARENTS = new Set(["trak", "mdia", "minf", "stbl"]);
const ENCRYPTED = new Set(["encv", "enca"]);

interface Box {
  type: string;
  /** First byte of the content. */
  start: number;
  /** Byte after the last one. */
  end: number;
}

/** A box's head at an offset; undefined when it cannot be one. */
function boxAt(head: Buffer, offset: number, end: number): Box | undefined {
  if (head.length < 8) return undefined;
  const small = head.readUInt32BE(0);
  const large = small === 1 && head.length >= 16 ? Number(head.readBigUInt64BE(8)) : small;
  const bytes = small === 0 ? end - offset : large;
  const headBytes = small === 1 ? 16 : 8;
  if (bytes < headBytes || offset + bytes > end) return undefined;
  return { type: head.toString("latin1", 4, 8), start: offset + headBytes, end: offset + bytes };
}

async function findMoov(file: FileHandle, bytes: number): Promise<Buffer | undefined> {
  const head = Buffer.alloc(16);
  let offset = 0;
  for (let n = 0; n < MAX_TOP_BOXES && offset < bytes; n++) {
    const { bytesRead } = await file.read(head, 0, 16, offset);
    const box = boxAt(head.subarray(0, bytesRead), offset, bytes);
    if (!box) return undefined;
    if (box.type === "moov") {
      const length = box.end - box.start;
      if (length > MAX_MOOV_BYTES) return undefined;
      const moov = Buffer.alloc(length);
      await file.read(moov, 0, length, box.start);
      return moov;
    }
    offset = box.end;
  }
  return undefined;
}

function* childBoxes(data: Buffer, start = 0, end = data.length): Generator<Box> {
  let offset = start;
  while (offset + 8 <= end) {
    const box = boxAt(data.subarray(offset, offset + 16), offset, end);
    if (!box) return;
    yield box;
    offset = box.end;
  }
}

function hasEncryptedEntry(data: Buffer, start: number, end: number): boolean {
  for (const box of childBoxes(data, start, end)) {
    if (PARENTS.has(box.type) && hasEncryptedEntry(data, box.start, box.end)) return true;
    // stsd: version and flags, count, then the entries as boxes.
    if (box.type === "stsd") for (const entry of childBoxes(data, box.start + 8, box.end)) if (ENCRYPTED.has(entry.type)) return true;
  }
  return false;
}

function claimedSeconds(data: Buffer, { start, end }: Box): number {
  const isLong = data[start] === 1;
  const at = start + (isLong ? 20 : 12);
  if (at + (isLong ? 12 : 8) > end) return 0;
  const timescale = data.readUInt32BE(at);
  const duration = isLong ? Number(data.readBigUInt64BE(at + 4)) : data.readUInt32BE(at + 4);
  return timescale === 0 ? 0 : duration / timescale;
}

/** Reads the movie header without trusting any size in it; undefined when there is none that can be read. */
export async function readMovieHeader(realPath: string, bytes: number): Promise<MovieHeader | undefined> {
  const file = await open(realPath, "r");
  try {
    const moov = await findMoov(file, bytes);
    if (!moov) return undefined;
    const mvhd = [...childBoxes(moov)].find(({ type }) => type === "mvhd");
    return { seconds: mvhd ? claimedSeconds(moov, mvhd) : 0, isEncrypted: hasEncryptedEntry(moov, 0, moov.length) };
  } finally {
    await file.close();
  }
}
