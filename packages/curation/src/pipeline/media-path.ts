import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { dirname, isAbsolute, relative, resolve, sep } from "node:path";
import type { CurationConfig } from "../config.ts";
import { CurationError } from "../errors.ts";

const refusal = (problem: string, hint = "Check the path and input.mediaRoots."): CurationError => new CurationError(problem, { code: "MEDIA_MISSING", hint });

const isInside = (folder: string, path: string): boolean => {
  const way = relative(folder, path);
  return way !== "" && way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
};

const realPath = (path: string): string | undefined => {
  try {
    return realpathSync.native(path);
  } catch {
    return undefined;
  }
};

/**
 * Where an episode's file lies, links followed: in the first media root that has it. Records keep the path as it was given, for hosts differ. The paths of a file of dramas are
 * what somebody wrote, and lead nowhere else than into the roots; without `input` a program gave the path and may name any.
 *
 * @throws CurationError `MEDIA_MISSING` for what is no plain file that may be read, or lies outside the roots. The path is not repeated.
 */
export function mediaPath({ input }: Pick<CurationConfig, "input">, path: string): string {
  const roots = input && (input.mediaRoots.length > 0 ? input.mediaRoots : [dirname(input.dramas)]).map((root) => resolve(root));
  const places = (roots ?? ["."]).map((root) => resolve(root, path)).filter((place) => roots?.some((root) => isInside(root, place)) ?? true);
  if (places.length === 0) throw refusal("the path leads out of input.mediaRoots", "Add the folder of the file to input.mediaRoots.");
  const file = places.map(realPath).find((place) => place !== undefined);
  if (file === undefined) throw refusal("there is no such file");
  if (roots && !roots.some((root) => isInside(realPath(root) ?? root, file))) throw refusal("a link leads out of input.mediaRoots", "Add the folder of the file to input.mediaRoots.");
  try {
    accessSync(file, constants.R_OK);
    if (statSync(file).isFile()) return file;
  } catch {
    throw refusal("the file may not be read");
  }
  throw refusal("it is no plain file");
}
