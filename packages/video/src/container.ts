/** Containers that are read. */
export type Container = "mp4" | "mov" | "matroska" | "webm" | "mpegts" | "avi" | "flv";

const EBML_DOCTYPE = Buffer.from([0x42, 0x82]);

/** Container by a file's first bytes; a name's ending is never trusted. Undefined for everything else: pictures, text, playlists. */
export function containerOf(head: Buffer): Container | undefined {
  const text = head.toString("latin1");
  if (/^(?:ftyp|moov|mdat|free|skip|wide)/u.test(text.slice(4, 8))) return text.slice(4, 12) === "ftypqt  " || !text.startsWith("ftyp", 4) ? "mov" : "mp4";
  if (text.startsWith("\x1a\x45\xdf\xa3")) {
    const at = head.subarray(0, 128).indexOf(EBML_DOCTYPE);
    return at >= 0 && text.startsWith("webm", at + 3) ? "webm" : "matroska";
  }
  const isSynced = ([first, packet]: readonly [number, number]): boolean => [0, 1, 2].every((i) => head[first + i * packet] === 0x47);
  if (([[0, 188], [4, 192]] as const).some(isSynced)) return "mpegts";
  if (text.startsWith("RIFF") && text.startsWith("AVI ", 8)) return "avi";
  return text.startsWith("FLV\x01") ? "flv" : undefined;
}
