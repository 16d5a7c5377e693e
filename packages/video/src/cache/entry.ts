import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describeIssues, frameManifest, sha256, sha256File, type FrameManifest } from "@dramascope/schema";
import { orAbsent, stateOf } from "./io.ts";

/** How far an entry is looked at: that each file has its size, or its contents too. */
export type CacheVerification = "size" | "sha256";

/** A whole entry, or what is wrong with it. */
export type CheckedEntry = { ok: true; manifest: FrameManifest; manifestSha256: string; bytes: number } | { ok: false; reason: string };

type ManifestFrame = FrameManifest["frames"][number];
type StoredFrame = ManifestFrame & { file: string; bytes: number; sha256: string };

const FRAME_FILE = /^[\w-]+\.(?:jpg|png|rgb)$/u;
const HASH = /^[0-9a-f]{64}$/u;
const MANIFEST_LIMIT = 64 * 2 ** 20;
const UNREADABLE = new Set(["ENOENT", "ENOTDIR", "EISDIR", "ELOOP"]);

const bad = (reason: string): { ok: false; reason: string } => ({ ok: false, reason });

function isStored(frame: ManifestFrame): frame is StoredFrame {
  const { file, bytes, sha256: hash } = frame;
  return file !== undefined && FRAME_FILE.test(file) && bytes !== undefined && bytes > 0 && hash !== undefined && HASH.test(hash);
}

/** The frames by file, in the order of the manifest. */
function byFile(frames: readonly StoredFrame[]): Map<string, StoredFrame[]> {
  const files = new Map<string, StoredFrame[]>();
  for (const frame of frames) {
    const sharing = files.get(frame.file);
    if (sharing) sharing.push(frame);
    else files.set(frame.file, [frame]);
  }
  return files;
}

/** SHA-256 of consecutive pieces of a file. */
async function hashPieces(path: string, sizes: readonly number[]): Promise<string[]> {
  const hashes: string[] = [];
  let hash = createHash("sha256");
  let left = sizes[0]!;
  for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) {
    for (let at = 0; at < chunk.length; ) {
      const piece = chunk.subarray(at, at + left);
      hash.update(piece);
      at += piece.length;
      left -= piece.length;
      if (left > 0) continue;
      hashes.push(hash.digest("hex"));
      hash = createHash("sha256");
      left = sizes[hashes.length] ?? Infinity;
    }
  }
  return hashes;
}

async function checkFile(folder: string, file: string, frames: readonly StoredFrame[], verify: CacheVerification): Promise<string | null> {
  const path = join(folder, file);
  const state = await stateOf(path);
  if (!state?.isFile()) return `${file} is missing`;
  const raw = file.endsWith(".rgb"); // holds all its frames one after another; a picture file is one frame, repeats name it again
  const sizes = frames.map(({ bytes }) => bytes);
  const size = Number(state.size);
  if (raw ? size !== sizes.reduce((sum, bytes) => sum + bytes, 0) : sizes.some((bytes) => bytes !== size)) return `${file} has ${size} bytes, which the manifest does not say`;
  if (verify === "size") return null;
  const hashes = raw ? await hashPieces(path, sizes) : [await sha256File(path)];
  return frames.every(({ sha256: expected }, i) => expected === hashes[raw ? i : 0]) ? null : `${file} has other contents than the manifest says`;
}

/**
 * Checks frame files against a manifest.
 *
 * @returns Bytes of all files by name, the manifest not counted, or what is wrong.
 */
export async function checkFrames(folder: string, manifest: FrameManifest, verify: CacheVerification): Promise<{ ok: true; files: Map<string, number> } | { ok: false; reason: string }> {
  const stored = manifest.frames.filter(isStored);
  if (stored.length < manifest.frames.length) return bad(`frame ${manifest.frames.findIndex((frame) => !isStored(frame))} has no usable file, bytes and sha256`);
  const files = new Map<string, number>();
  for (const [file, frames] of byFile(stored)) {
    const reason = await checkFile(folder, file, frames, verify);
    if (reason !== null) return bad(reason);
    files.set(file, file.endsWith(".rgb") ? frames.reduce((sum, { bytes }) => sum + bytes, 0) : frames[0]!.bytes);
  }
  return { ok: true, files };
}

/** Reads an entry's manifest and checks the files it lists. A disk that fails is thrown, not reported as a bad entry. */
export async function checkEntry(folder: string, verify: CacheVerification): Promise<CheckedEntry> {
  const path = join(folder, "manifest.json");
  const state = await orAbsent(stateOf(path), UNREADABLE);
  if (!state?.isFile() || state.size > MANIFEST_LIMIT) return bad("manifest.json is missing or no manifest");
  const text = await orAbsent(readFile(path), UNREADABLE);
  if (text === null) return bad("manifest.json is missing");
  let json: unknown;
  try {
    json = JSON.parse(text.toString("utf8"));
  } catch {
    return bad("manifest.json is not JSON");
  }
  const parsed = frameManifest.safeParse(json);
  if (!parsed.success) return bad(`manifest.json: ${describeIssues(parsed.error)}`);
  const checked = await checkFrames(folder, parsed.data, verify);
  if (!checked.ok) return checked;
  const bytes = [...checked.files.values()].reduce((sum, size) => sum + size, text.length);
  return { ok: true, manifest: parsed.data, manifestSha256: sha256(text), bytes };
}
