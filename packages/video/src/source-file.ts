import { lstat, open, realpath, stat } from "node:fs/promises";
import { dirname, relative, isAbsolute, sep } from "node:path";
import { VideoError, type VideoErrorCode } from "./errors.ts";

/** Which files may be opened. */
export interface SourceOptions {
  /** Largest accepted file. Default 2 GiB. */
  maxBytes?: number | undefined;
  /** Folders that the real file must lie in, after links are resolved. Default the folder of the path itself. */
  roots?: readonly string[] | undefined;
}

/** A regular file that may be read. */
export interface SourceFile {
  /** As the caller gave it. */
  path: string;
  /** Absolute, without links. */
  realPath: string;
  bytes: number;
  /** Device, inode, size and time of the last change: tells whether a path still names the same content. */
  fileId: string;
}

const DEFAULT_MAX_BYTES = 2 * 1024 ** 3;

function refuse(path: string, code: VideoErrorCode, what: string, hint: string, cause?: unknown): never {
  throw new VideoError(`${path}: ${what}`, { code, hint, path, cause });
}

function isInside(root: string, path: string): boolean {
  const way = relative(root, path);
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

async function fileIdOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
  return [dev, ino, size, mtimeNs].join(":");
}

/**
 * Resolves a path to a regular file inside the allowed folders, without opening anything.
 *
 * @throws VideoError `VIDEO_NOT_FOUND`, `VIDEO_NOT_A_FILE`, `VIDEO_EMPTY`, `VIDEO_TOO_LARGE`, `VIDEO_PATH_REFUSED`.
 */
export async function openSource(path: string, options: SourceOptions = {}): Promise<SourceFile> {
  if (path === "" || path.includes("\0")) refuse(JSON.stringify(path), "VIDEO_NOT_FOUND", "this cannot be the name of a file", "Check the path.");
  const { maxBytes = DEFAULT_MAX_BYTES, roots = [dirname(path)] } = options;
  let realPath: string;
  try {
    await lstat(path);
    realPath = await realpath(path);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") return refuse(path, "VIDEO_PATH_REFUSED", "its folder may not be read", "Give this user the right to read it.", error);
    return refuse(path, "VIDEO_NOT_FOUND", code === "ENOENT" || code === "ENOTDIR" ? "there is no such file" : `it cannot be found (${code})`, "Check the path.", error);
  }
  const info = await stat(realPath);
  if (!info.isFile()) refuse(path, "VIDEO_NOT_A_FILE", "this is not a regular file", "Give a video file.");
  const realRoots = await Promise.all(roots.map((root) => realpath(root).catch(() => undefined)));
  if (!realRoots.some((root) => root !== undefined && isInside(root, realPath))) {
    refuse(path, "VIDEO_PATH_REFUSED", "it leads to a file outside the allowed folders", "Name the folder of the real file as an allowed root, or give its real path.");
  }
  if (info.size === 0) refuse(path, "VIDEO_EMPTY", "the file is empty", "Fetch or export the episode again.");
  if (info.size > maxBytes) refuse(path, "VIDEO_TOO_LARGE", `the file has ${info.size} bytes, more than ${maxBytes}`, "Raise maxBytes if the file is what you expect.");
  return { path, realPath, bytes: info.size, fileId: await fileIdOf(realPath) };
}

/** @throws VideoError `VIDEO_CHANGED` when the file was replaced or written to since it was looked at. */
export async function assertUnchanged({ path, realPath, fileId }: Pick<SourceFile, "path" | "realPath" | "fileId">): Promise<void> {
  const now = await fileIdOf(realPath).catch(() => undefined);
  if (now !== fileId) refuse(path, "VIDEO_CHANGED", "the file changed while it was being read", "Wait until it is written wholly, then run again.");
}

/** The first bytes of a file. */
export async function readHead({ path, realPath }: SourceFile, bytes: number): Promise<Buffer> {
  const file = await open(realPath, "r").catch((error: unknown) => refuse(path, "VIDEO_PATH_REFUSED", "the file may not be read", "Give this user the right to read it.", error));
  try {
    const head = Buffer.alloc(bytes);
    const { bytesRead } = await file.read(head, 0, bytes, 0);
    return head.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
