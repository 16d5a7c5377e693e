import { randomBytes } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";

/** Flushes a file or folder to the disk, so that a rename after it cannot bring an empty file to light. */
async function flush(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Writes a file so that it is whole or absent: beside it under a temporary name, fsync, rename, fsync of the folder.
 * Missing folders are made.
 *
 * @param write Receives the temporary path and writes to it.
 */
export async function writeAtomically<T>(path: string, write: (temporaryPath: string) => Promise<T>): Promise<T> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const temporary = `${path}.tmp-${process.pid}-${randomBytes(4).toString("hex")}`;
  try {
    const result = await write(temporary);
    await flush(temporary);
    await rename(temporary, path);
    await flush(folder);
    return result;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/**
 * Writes a folder so that it is whole or absent, as {@link writeAtomically} does for a file. A folder that is there already is replaced
 * at the end.
 *
 * @param write Receives the temporary folder and writes its files, no folders, into it.
 */
export async function writeFolderAtomically<T>(path: string, write: (temporaryFolder: string) => Promise<T>): Promise<T> {
  const target = resolve(path);
  const parent = dirname(target);
  const mark = `${process.pid}-${randomBytes(4).toString("hex")}`;
  const temporary = join(parent, `.${basename(target)}.tmp-${mark}`);
  const old = join(parent, `.${basename(target)}.old-${mark}`);
  await mkdir(temporary, { recursive: true });
  try {
    const result = await write(temporary);
    await Promise.all((await readdir(temporary)).map((name) => flush(join(temporary, name))));
    await flush(temporary);
    const replaces = await rename(target, old).then(() => true, () => false);
    await rename(temporary, target);
    if (replaces) await rm(old, { recursive: true, force: true });
    await flush(parent);
    return result;
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** Writes text or bytes so that the file is whole or absent; missing folders are made. */
export async function writeFileAtomically(path: string, data: string | Uint8Array): Promise<void> {
  await writeAtomically(path, async (temporary) => {
    const handle = await open(temporary, "w");
    try {
      await handle.writeFile(data);
    } finally {
      await handle.close();
    }
  });
}

/** Bytes of a file as a stream; a name that ends in `.gz` is unpacked. */
export function openBytes(path: string): Readable {
  const raw = createReadStream(path);
  if (!path.endsWith(".gz")) return raw;
  const unpacked = createGunzip();
  raw.on("error", (error) => unpacked.destroy(error));
  return raw.pipe(unpacked);
}

/** Writes chunks of text so that the file is whole or absent; a name that ends in `.gz` is packed. */
export async function writeTextAtomically(path: string, chunks: Iterable<string> | AsyncIterable<string>): Promise<void> {
  await writeAtomically(path, async (temporary) => {
    const stages = [Readable.from(chunks), ...(path.endsWith(".gz") ? [createGzip()] : []), createWriteStream(temporary)];
    await pipeline(stages);
  });
}
