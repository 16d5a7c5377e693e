import { readFile, readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { hashJson, sha256File, writeFileAtomically } from "@dramascope/schema";
import { CliError } from "./errors.ts";

/** Paths of a folder's weight files, in the order of their names. */
export async function weightFiles(folder: string): Promise<string[]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".safetensors")).sort();
  if (names.length === 0) throw new CliError(`${folder} holds no .safetensors file`, { code: "MODEL_NOT_FOUND", hint: "Give the folder of a Qwen2.5-VL checkpoint or adapter." });
  return names.map((name) => join(folder, name));
}

/** What a file is at the moment, by its metadata: writing to it, or putting another in its place, makes another key. */
async function keyOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return hashJson([dev, ino, size, mtimeNs, ctimeNs].map(String)).slice(0, 32);
}

async function keptHash(path: string, kept: string): Promise<string> {
  const key = await keyOf(path);
  const entry = join(kept, `${key}.sha256`);
  const known = /^([0-9a-f]{64})\n$/u.exec(await readFile(entry, "utf8").catch(() => ""))?.[1];
  if (known !== undefined) return known;
  const hash = await sha256File(path);
  if ((await keyOf(path)) === key) await writeFileAtomically(entry, `${hash}\n`);
  return hash;
}

/**
 * SHA-256 over the names and hashes of all weight files of a folder.
 *
 * @param kept Folder in which the hash of each file is kept, under a key of its metadata, so that a file is read once and not at every start.
 *             Who can write there can lie about the hashes: it must be one's own, as a weight cache is. Default: every file is read.
 * @throws CliError `MODEL_NOT_FOUND` when there are none.
 */
export async function hashWeights(folder: string, kept?: string): Promise<string> {
  const paths = await weightFiles(folder);
  return hashJson(await Promise.all(paths.map(async (path) => [basename(path), await (kept === undefined ? sha256File(path) : keptHash(path, kept))])));
}
