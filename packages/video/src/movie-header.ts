import { open, type FileHandle } from "node:fs/promises";

/** What the `moov` box of an MP4 or MOV says beside the sample tables. */
export interface MovieHeader {
  /** Seconds that `mvhd` claims for the film; undefined when it claims none. */
  seconds: number | undefined;
  /** Seconds that `mdhd` claims for the pictures of the longest video track; undefined when none does. */
  mediaSeconds: number | undefined;
  /** A video track's sample entry is `encv`. */
  isEncrypted: boolean;
}

const MAX_TOP_BOXES = 10_000;
const MAX_MOOV_BYTES = 64 * 2 ** 20;
const MAX_BOXES = 10_000;
const PARENTS = new Set(["trak", "mdia", "minf", "stbl"]);

/** Where a box's content lies: [first byte, byte after the last one]. Undefined when there cannot be a box. */
function contentOf(data: Buffer, at: number, end: number, offset = 0): [start: number, end: number] | undefined {
  if (at + 8 > data.length) return undefined;
  const small = data.readUInt32BE(at);
  if (small === 1 && at + 16 > data.length) return undefined;
  const bytes = small === 0 ? end - offset - at : small === 1 ? Number(data.readBigUInt64BE(at + 8)) : small;
  const head = small === 1 ? 16 : 8;
  if (bytes < head || offset + at + bytes > end) return undefined;
  return [offset + at + head, offset + at + bytes];
}

async function findMoov(file: FileHandle, bytes: number): Promise<Buffer | undefined> {
  const head = Buffer.alloc(16);
  let offset = 0;
  for (let n = 0; n < MAX_TOP_BOXES && offset < bytes; n++) {
    const { bytesRead } = await file.read(head, 0, 16, offset);
    const content = contentOf(head.subarray(0, bytesRead), 0, bytes, offset);
    if (!content) return undefined;
    if (head.toString("latin1", 4, 8) === "moov") {
      const length = content[1] - content[0];
      if (length > MAX_MOOV_BYTES) return undefined;
      const moov = Buffer.alloc(length);
      await file.read(moov, 0, length, content[0]);
      return moov;
    }
    offset = content[1];
  }
  return undefined;
}

/** Seconds that an `mvhd` or `mdhd` box claims. */
function claimedSeconds(data: Buffer, start: number, end: number): number | undefined {
  const isLong = data[start] === 1;
  const at = start + (isLong ? 20 : 12);
  if (at + (isLong ? 12 : 8) > end) return undefined;
  const timescale = data.readUInt32BE(at);
  const duration = isLong ? Number(data.readBigUInt64BE(at + 4)) : data.readUInt32BE(at + 4);
  const isUnknown = duration === 0 || duration === (isLong ? Number(0xffffffffffffffffn) : 0xffffffff);
  return timescale === 0 || isUnknown ? undefined : duration / timescale;
}

function readMoov(data: Buffer): MovieHeader {
  const header: MovieHeader = { seconds: undefined, mediaSeconds: undefined, isEncrypted: false };
  // Boxes yet to be looked into: no recursion, and no more boxes than a film has.
  const ranges: [start: number, end: number][] = [[0, data.length]];
  for (let seen = 0, range = ranges.pop(); range; range = ranges.pop()) {
    let [at] = range;
    let seconds: number | undefined;
    let isVideo = false;
    while (at + 8 <= range[1] && seen++ < MAX_BOXES) {
      const content = contentOf(data, at, range[1]);
      if (!content) break;
      const [start, end] = content;
      const type = data.toString("latin1", at + 4, at + 8);
      if (PARENTS.has(type)) ranges.push(content);
      // stsd: version and flags, count, then the entries as boxes.
      else if (type === "stsd") ranges.push([Math.min(end, start + 8), end]);
      else if (type === "encv") header.isEncrypted = true;
      else if (type === "mvhd") header.seconds = claimedSeconds(data, start, end);
      else if (type === "mdhd") seconds = claimedSeconds(data, start, end);
      else if (type === "hdlr") isVideo = data.toString("latin1", start + 8, start + 12) === "vide";
      at = end;
    }
    if (isVideo && seconds !== undefined) header.mediaSeconds = Math.max(header.mediaSeconds ?? 0, seconds);
  }
  return header;
}

/** Reads the movie header without trusting any size in it; undefined when there is none that can be read. */
export async function readMovieHeader(realPath: string, bytes: number): Promise<MovieHeader | undefined> {
  const file = await open(realPath, "r");
  try {
    const moov = await findMoov(file, bytes);
    return moov && readMoov(moov);
  } finally {
    await file.close();
  }
}
