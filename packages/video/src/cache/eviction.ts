import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { checkEntry } from "./entry.ts";
import { orAbsent, stateOf, uniqueName } from "./io.ts";
import { isMarked, leaveMark, removeDeadMarks, type ProcessIdentity } from "./marks.ts";
import { readStamp, removeStamp } from "./stamps.ts";
import type { CacheFolders } from "./folders.ts";

/** What a clean-up of the cache left and took away. */
export interface PruneReport {
  /** Entries that are left. */
  entries: number;
  /** Bytes of the entries that are left. */
  bytes: number;
  /** Keys of the removed entries, least recently used first. */
  evicted: string[];
  /** Bytes of the removed entries. */
  evictedBytes: number;
  /** Removed folders of crashed writers, bad entries older than a day, and leases of processes that are gone. */
  rubbish: number;
}

/** What {@link pruneCache} works with. */
export interface PruneInput {
  folders: CacheFolders;
  own: ProcessIdentity;
  /** Bytes. */
  maxBytes: number;
  /** Milliseconds since the epoch. */
  now: number;
}

interface Entry {
  key: string;
  bytes: number;
  madeAt: number;
  usedAt: number;
}

const YOUNG_MS = 600_000;
const RUBBISH_AGE_MS = 86_400_000;
/** A source's hash is forgotten when its file was not seen in this state for so long; it is made again where needed. */
const SOURCE_AGE_MS = 90 * 86_400_000;
/** A full cache is emptied a little below its limit, so that not every put that follows has to look for entries to remove. */
const LOW_WATER = 0.95;

const names = async (folder: string): Promise<string[]> => (await orAbsent(readdir(folder))) ?? [];

async function listEntries({ objects, used }: CacheFolders): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const prefix of (await names(objects)).filter((name) => /^[0-9a-f]{2}$/u.test(name))) {
    for (const key of (await names(join(objects, prefix))).filter((name) => /^[0-9a-f]{64}$/u.test(name))) {
      const folder = join(objects, prefix, key);
      const state = await stateOf(folder);
      if (state === null) continue;
      const madeAt = Number(state.mtimeMs); // nothing is written into a folder after its manifest
      const stamp = await readStamp(used, key);
      if (stamp) entries.push({ key, madeAt, bytes: stamp.bytes, usedAt: stamp.usedAt });
      else {
        const entry = await checkEntry(folder, "size");
        entries.push({ key, madeAt, bytes: entry.ok ? entry.bytes : 0, usedAt: madeAt });
      }
    }
  }
  return entries;
}

/**
 * Removes one entry unless it is in use. The intent is written before the leases are read, and a reader writes its lease before it looks
 * for intents, so at least one of the two sees the other.
 */
async function evict(key: string, { folders, own, now }: PruneInput): Promise<boolean> {
  const intent = await leaveMark(folders.evicting, key, own);
  const grave = join(folders.temporary, uniqueName());
  try {
    if (await isMarked(folders.leases, key, own, now)) return false;
    await removeStamp(folders.used, key);
    await mkdir(folders.temporary, { recursive: true });
    if ((await orAbsent(rename(folders.entry(key), grave).then(() => true))) === null) return false;
  } finally {
    await rm(intent, { force: true });
  }
  await rm(grave, { recursive: true, force: true });
  return true;
}

async function removeOld(folder: string, ageMs: number, now: number): Promise<number> {
  let removed = 0;
  for (const name of await names(folder)) {
    const path = join(folder, name);
    const state = await stateOf(path);
    if (state === null || now - Number(state.mtimeMs) <= ageMs) continue;
    await rm(path, { recursive: true, force: true });
    removed++;
  }
  return removed;
}

/** Removes rubbish and, while the cache is too large, the least recently used entries that are neither young nor in use. */
export async function pruneCache(input: PruneInput): Promise<PruneReport> {
  const { folders, own, maxBytes, now } = input;
  const rubbish =
    (await removeDeadMarks(folders.leases, own, now)) +
    (await removeDeadMarks(folders.evicting, own, now)) +
    (await removeOld(folders.temporary, RUBBISH_AGE_MS, now)) +
    (await removeOld(folders.bad, RUBBISH_AGE_MS, now));
  await removeOld(folders.sources, SOURCE_AGE_MS, now);
  const all = await listEntries(folders);
  const report: PruneReport = { entries: all.length, bytes: all.reduce((sum, { bytes }) => sum + bytes, 0), evicted: [], evictedBytes: 0, rubbish };
  if (report.bytes <= maxBytes) return report;
  const oldestFirst = all.filter(({ madeAt }) => now - madeAt >= YOUNG_MS).sort((a, b) => a.usedAt - b.usedAt || (a.key < b.key ? -1 : 1));
  for (const { key, bytes } of oldestFirst) {
    if (report.bytes <= maxBytes * LOW_WATER) break;
    if (!(await evict(key, input))) continue;
    report.evicted.push(key);
    report.evictedBytes += bytes;
    report.entries--;
    report.bytes -= bytes;
  }
  return report;
}
