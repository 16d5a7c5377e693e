import { mkdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { orAbsent, stateOf } from "./io.ts";

/** What the cache remembers of an entry beside it. */
export interface EntryStamp {
  /** Bytes of all files. */
  bytes: number;
  /** SHA-256 of the manifest, 64 hex digits. */
  manifestSha256: string;
  /** When it was last asked for, milliseconds since the epoch. */
  usedAt: number;
}

/** The stamp of an entry, or null when there is none or it cannot be read: then the entry speaks for itself. */
export async function readStamp(folder: string, key: string): Promise<EntryStamp | null> {
  const path = join(folder, key);
  const [text, state] = await Promise.all([orAbsent(readFile(path, "utf8")), stateOf(path)]);
  const [, bytes, manifestSha256] = /^(?<bytes>\d{1,15}) (?<hash>[0-9a-f]{64})\n$/u.exec(text ?? "") ?? [];
  if (state === null || bytes === undefined || manifestSha256 === undefined) return null;
  return { bytes: Number(bytes), manifestSha256, usedAt: Number(state.mtimeMs) };
}

/** Writes a stamp. A stamp torn by a crash is no stamp, so it is not flushed. */
export async function writeStamp(folder: string, key: string, { bytes, manifestSha256, usedAt }: EntryStamp): Promise<void> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, key);
  await writeFile(path, `${bytes} ${manifestSha256}\n`);
  await utimes(path, usedAt / 1000, usedAt / 1000);
}

/** Takes a stamp away. */
export async function removeStamp(folder: string, key: string): Promise<void> {
  await rm(join(folder, key), { force: true });
}
