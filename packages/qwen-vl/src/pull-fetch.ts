import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { QwenVlError } from "./errors.ts";
import { PassingFailure, type HubClient } from "./pull-client.ts";
import type { PullFile } from "./pull-files.ts";
import { isWhole, openPart, unwritable, type PartFile } from "./pull-part.ts";

/** Where a file comes from and goes to. */
export interface FetchFileOptions {
  client: HubClient;
  url: URL;
  folder: string;
  signal: AbortSignal | undefined;
  /** Told how many bytes of the file are there, and how many of these have just come. */
  onBytes: (bytes: number, come: number) => void;
}

const damaged = (message: string): QwenVlError => new QwenVlError(message, { code: "HUB_DAMAGED", hint: "Run the command again; if it stays so, the server's copy is damaged: name another endpoint." });

/** Name of the beginning of a file while it is fetched. */
export const partName = (name: string): string => `${name}.part`;

/** One connection's worth of the file. */
async function appendBody(part: PartFile, file: PullFile, { client, url, onBytes }: FetchFileOptions): Promise<void> {
  const answer = await client.get(url, { range: `bytes=${part.bytes}-` });
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/u.exec(answer.headers.get("content-range") ?? "");
  if (answer.status === 200) await part.restart(); // the server knows no ranges
  else if (answer.status !== 206 || range === null || Number(range[1]) !== part.bytes || (range[2] !== "*" && Number(range[2]) !== file.bytes)) {
    answer.cancel();
    throw damaged(`${file.name}: the server answers with other bytes than those from ${part.bytes} of ${file.bytes}`);
  }
  for await (const chunk of answer.chunks()) {
    if (part.bytes + chunk.length > file.bytes) throw damaged(`${file.name}: more comes than the ${file.bytes} bytes of the listing`);
    await part.append(chunk);
    onBytes(part.bytes, chunk.length);
  }
  if (part.bytes < file.bytes) throw new PassingFailure(`${file.name} ended after ${part.bytes} of ${file.bytes} bytes`);
}

/** Goes on until all bytes are there; gives up after several tries in a row that brought nothing new. */
async function fill(part: PartFile, file: PullFile, options: FetchFileOptions): Promise<void> {
  let failures = 0;
  let furthest = part.bytes;
  while (part.bytes < file.bytes) {
    try {
      await appendBody(part, file, options);
    } catch (error) {
      failures = part.bytes > furthest ? 1 : failures + 1;
      furthest = Math.max(furthest, part.bytes);
      await options.client.waitAfter(error, failures);
    }
  }
}

/**
 * Brings one file into the folder: what is there of it is kept, the rest is fetched, the hash is checked, and only then it gets its name.
 *
 * @throws QwenVlError `HUB_DAMAGED` when the server's bytes are not the announced ones; nothing of them is kept then.
 */
export async function fetchFile(file: PullFile, options: FetchFileOptions): Promise<void> {
  const path = join(options.folder, file.name);
  const partPath = join(options.folder, partName(file.name));
  if (await isWhole(path, file, options.signal)) {
    options.onBytes(file.bytes, 0);
    return;
  }
  const part = await openPart(partPath, file, options.signal);
  try {
    const isResumed = part.bytes > 0;
    options.onBytes(part.bytes, 0);
    await fill(part, file, options);
    if (!part.isRight() && isResumed) {
      // The old beginning may be what is wrong.
      await part.restart();
      await fill(part, file, options);
    }
    if (!part.isRight()) {
      await part.restart();
      throw damaged(`${file.name}: its ${file.algorithm} is not the ${file.digest} of the listing`);
    }
    await part.flush();
  } finally {
    await part.close();
  }
  await rename(partPath, path).catch((error: unknown) => {
    throw unwritable(path, error);
  });
}

/** Removes a file and its beginning. */
export async function removeFile(folder: string, name: string): Promise<void> {
  await rm(join(folder, name), { force: true });
  await rm(join(folder, partName(name)), { force: true });
}
