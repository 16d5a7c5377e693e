import { mkdir, readdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { canonicalJson, frameManifest, parseRecord, sha256, type FrameManifest } from "@dramascope/schema";
import { checkEntry, checkFrames, type CacheVerification, type CheckedEntry } from "./entry.ts";
import { pruneCache, type PruneReport } from "./eviction.ts";
import { cacheFolders, type CacheFolders } from "./folders.ts";
import { cacheIo, flush, orAbsent, stateOf, uniqueName } from "./io.ts";
import { isMarked, leaveMark, ownIdentity, type ProcessIdentity } from "./marks.ts";
import { readStamp, removeStamp, writeStamp } from "./stamps.ts";
import { VideoError } from "../errors.ts";
import { SourceHashes } from "./source-hashes.ts";

/** Options of {@link FrameCache}. */
export interface FrameCacheOptions {
  /** Size above which the least recently used entries are removed. Default 20 GiB. */
  maxBytes?: number;
  /** `size` compares each file's size, and the manifest, with what was written; `sha256` each file's contents too. Default `size`. */
  verify?: CacheVerification;
  /** Milliseconds since the epoch, against which ages are told. Default `Date.now`. */
  now?: () => number;
}

/** Frames of one episode in the cache. They stay there until they are released, whatever the cache's size. */
export interface CachedFrames extends AsyncDisposable {
  key: string;
  /** Absolute path of the folder with the frame files. */
  folder: string;
  /** Absolute path. */
  manifestPath: string;
  manifest: FrameManifest;
  /** `CACHE_REPAIRED` when the frames replace an entry that this cache object found damaged. */
  warnings: string[];
  /** Lets the cache remove the frames when it needs the space. May be called twice. */
  release: () => Promise<void>;
}

type WholeEntry = Extract<CheckedEntry, { ok: true }>;

const DEFAULTS: Required<FrameCacheOptions> = { maxBytes: 20 * 2 ** 30, verify: "size", now: Date.now };
/** Longest wait for another process that is about to remove the entry, which takes it a few system calls. */
const EVICTION_WAIT_MS = 10_000;
/** Looks at an entry, or tries to publish one, this often while others replace it. */
const ATTEMPTS = 5;
/** Other processes may fill the cache too, so its size is taken anew after this share of `maxBytes` was written here. */
const SHARE_UNTIL_MEASURED = 0.05;
const OCCUPIED = new Set(["ENOTEMPTY", "EEXIST", "ENOTDIR"]);

function checkKey(key: string): void {
  if (/^[0-9a-f]{64}$/u.test(key)) return;
  throw new VideoError(`${JSON.stringify(key.slice(0, 80))} is no key of the frame cache`, { code: "VIDEO_PATH_REFUSED", hint: "A key is 64 digits of 0-9 and a-f, as frameCacheKey gives." });
}

/**
 * Frames on disk by the hash of all that decides their bytes, for any number of processes of one machine.
 *
 * An entry is whole or absent: it is written under a temporary name, flushed and renamed. A crash leaves only a temporary folder, which is
 * removed after a day. An entry in use, or younger than ten minutes, is never removed, so the cache can grow above `maxBytes` for a time.
 * Every method throws VideoError `CACHE_IO`, naming the path, when the disk is full or the folder cannot be used.
 */
export class FrameCache {
  readonly #folders: CacheFolders;
  readonly #options: Required<FrameCacheOptions>;
  readonly #sources: SourceHashes;
  readonly #writing = new Map<string, Promise<unknown>>();
  readonly #damaged = new Set<string>();
  #own: Promise<ProcessIdentity> | undefined;
  /** Bytes that may still be written before the cache is measured. */
  #allowance = 0;

  constructor(dir: string, options: FrameCacheOptions = {}) {
    this.#folders = cacheFolders(dir);
    this.#options = { ...DEFAULTS, ...options };
    this.#sources = new SourceHashes(this.#folders.sources, this.#options.now);
  }

  /**
   * The frames under a key, or null when there are none. A damaged entry is moved to `bad/` and counts as none.
   *
   * @throws VideoError `VIDEO_PATH_REFUSED` when the key is not 64 hex digits.
   */
  async get(key: string): Promise<CachedFrames | null> {
    checkKey(key);
    return cacheIo(this.#folders.root, () => this.#find(key));
  }

  /**
   * Writes frames under a key, unless they are there by now. Calls for one key in this process wait for each other; of two processes that
   * write, one wins and both get its frames.
   *
   * @param write Puts the frame files into the given empty folder and returns the manifest, whose frames name file, bytes and sha256.
   *              In a `.rgb` file the frames that name it lie one after another; any other file is one frame, which repeats name again.
   * @throws      VideoError `VIDEO_FRAMES_INVALID` when manifest and files disagree, `VIDEO_PATH_REFUSED` as `get`, and what `write` throws.
   */
  async put(key: string, write: (folder: string) => Promise<FrameManifest>): Promise<CachedFrames> {
    checkKey(key);
    for (let other = this.#writing.get(key); other; other = this.#writing.get(key)) await other.catch(() => undefined);
    const work = cacheIo(this.#folders.root, () => this.#write(key, write));
    this.#writing.set(key, work);
    try {
      return await work;
    } finally {
      this.#writing.delete(key);
    }
  }

  /** Removes the least recently used entries above `maxBytes`, and what crashed processes left behind more than a day ago. */
  async prune(): Promise<PruneReport> {
    const { maxBytes, now } = this.#options;
    return cacheIo(this.#folders.root, async () => {
      const report = await pruneCache({ folders: this.#folders, own: await this.#identity(), maxBytes, now: now() });
      const room = maxBytes - report.bytes;
      this.#allowance = room > 0 ? Math.min(room, maxBytes * SHARE_UNTIL_MEASURED) : maxBytes * SHARE_UNTIL_MEASURED;
      return report;
    });
  }

  /**
   * SHA-256 of an episode's file, 64 hex digits; remembered by device, inode, size and times.
   *
   * @throws VideoError `VIDEO_NOT_FOUND`, `VIDEO_NOT_A_FILE`, or `VIDEO_CHANGED` when the file changed while it was read.
   */
  sourceSha256(path: string): Promise<string> {
    return this.#sources.of(path);
  }

  #identity(): Promise<ProcessIdentity> {
    return (this.#own ??= ownIdentity());
  }

  /** Marks an entry as in use. Returns the lease's path once no process is about to remove the entry. */
  async #lease(key: string): Promise<string> {
    const { leases, evicting } = this.#folders;
    const own = await this.#identity();
    const start = performance.now();
    while (performance.now() - start < EVICTION_WAIT_MS) {
      const lease = await leaveMark(leases, key, own);
      if (!(await isMarked(evicting, key, own, this.#options.now()))) return lease;
      await rm(lease, { force: true });
      await pause(2);
    }
    throw new VideoError(`${evicting}: another process has been removing the entry ${key} for ${EVICTION_WAIT_MS / 1000} s`, { code: "CACHE_IO", path: evicting, hint: "End the process that hangs, or name another cache folder." });
  }

  async #find(key: string): Promise<CachedFrames | null> {
    const folder = this.#folders.entry(key);
    if ((await stateOf(folder)) === null) return null;
    const lease = await this.#lease(key);
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const before = await stateOf(folder);
        if (before === null) break;
        const entry = await this.#check(key, folder);
        if ((await stateOf(folder))?.ino !== before.ino) continue; // replaced meanwhile
        if (entry.ok) return await this.#use(key, entry, lease);
        await this.#setAside(key, folder);
        break;
      }
    } catch (error) {
      await rm(lease, { force: true });
      throw error;
    }
    await rm(lease, { force: true });
    return null;
  }

  async #check(key: string, folder: string): Promise<CheckedEntry> {
    const entry = await checkEntry(folder, this.#options.verify);
    const stamp = entry.ok ? await readStamp(this.#folders.used, key) : null;
    return entry.ok && stamp && stamp.manifestSha256 !== entry.manifestSha256 ? { ok: false, reason: "manifest.json was changed" } : entry;
  }

  async #use(key: string, { manifest, manifestSha256, bytes }: WholeEntry, lease: string): Promise<CachedFrames> {
    const folder = this.#folders.entry(key);
    const warnings = this.#damaged.delete(key) ? ["CACHE_REPAIRED"] : [];
    await writeStamp(this.#folders.used, key, { bytes, manifestSha256, usedAt: this.#options.now() });
    const release = (): Promise<void> => cacheIo(lease, () => rm(lease, { force: true }));
    return { key, folder, manifestPath: join(folder, "manifest.json"), manifest, warnings, release, [Symbol.asyncDispose]: release };
  }

  async #setAside(key: string, folder: string): Promise<void> {
    const { bad, used } = this.#folders;
    const aside = join(bad, `${key}-${uniqueName()}`);
    await mkdir(bad, { recursive: true });
    await removeStamp(used, key);
    if ((await orAbsent(rename(folder, aside).then(() => true))) === null) return;
    this.#damaged.add(key);
    const now = this.#options.now() / 1000;
    await utimes(aside, now, now);
  }

  async #write(key: string, write: (folder: string) => Promise<FrameManifest>): Promise<CachedFrames> {
    const present = await this.#find(key);
    if (present) return present;
    const temporary = join(this.#folders.temporary, uniqueName());
    try {
      await mkdir(temporary, { recursive: true });
      const entry = await this.#complete(temporary, await write(temporary));
      const frames = await this.#publish(key, temporary, entry);
      this.#allowance -= entry.bytes;
      try {
        if (this.#allowance < 0) await this.prune();
      } catch (error) {
        await frames.release();
        throw error;
      }
      return frames;
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  /** Checks the frame files, adds the manifest and flushes everything, so that the folder may be renamed to its final name. */
  async #complete(folder: string, given: FrameManifest): Promise<WholeEntry> {
    const invalid = (reason: string): VideoError => new VideoError(`${folder}: ${reason}`, { code: "VIDEO_FRAMES_INVALID", path: folder, hint: "The frame files and the manifest must agree." });
    const manifest = parseRecord(frameManifest, given, "the manifest of the frames");
    const frames = await checkFrames(folder, manifest, this.#options.verify);
    if (!frames.ok) throw invalid(frames.reason);
    const stray = (await readdir(folder)).find((name) => !frames.files.has(name));
    if (stray !== undefined) throw invalid(`${stray} is not in the manifest`);
    for (const name of frames.files.keys()) await flush(join(folder, name));
    const text = `${canonicalJson(manifest)}\n`;
    const path = join(folder, "manifest.json");
    await writeFile(path, text, { flag: "wx", flush: true });
    await flush(folder);
    return { ok: true, manifest, manifestSha256: sha256(text), bytes: [...frames.files.values()].reduce((sum, bytes) => sum + bytes, Buffer.byteLength(text)) };
  }

  async #publish(key: string, temporary: string, entry: WholeEntry): Promise<CachedFrames> {
    const target = this.#folders.entry(key);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const lease = await this.#lease(key);
      try {
        await mkdir(dirname(target), { recursive: true });
        if ((await stateOf(target)) === null) await removeStamp(this.#folders.used, key);
        if (await orAbsent(rename(temporary, target).then(() => true), OCCUPIED)) {
          await flush(dirname(target));
          return await this.#use(key, entry, lease);
        }
      } catch (error) {
        await rm(lease, { force: true });
        throw error;
      }
      await rm(lease, { force: true });
      const winner = await this.#find(key);
      if (winner) return winner;
    }
    throw new VideoError(`${target}: the entry was replaced ${ATTEMPTS} times while it was written`, { code: "CACHE_IO", path: target, hint: "Look for another process that damages the cache." });
  }
}
