import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import { findLibraryFiles, type LibraryFiles } from "./native/library.ts";

/** Where fetched TensorFlows may be, and for whom. */
export interface CachePlaces {
  /** This package's own folder: the cache of the project that it is part of comes first. */
  packageFolder: string;
  /** Its cache is looked at, and that of each folder above, as far up as they are the user's alone. */
  workingFolder: string;
  /** The user's own folder of caches; what is ours is below `dramascope`. */
  userCacheFolder: string;
  /** The user's number, and that of the user's main group. */
  user: { uid: number; gid: number };
}

/** A fetched TensorFlow, with the addon if one was built beside it, or a place from which nothing may be loaded, and why. */
export type CachedLibrary = { files: LibraryFiles; addon: string | undefined } | { where: string; refused: string };

/** Says why someone else could have put something at a path; undefined when nobody could. */
type Doubt = (path: string) => string | undefined;

/** Doubts every path that others than its owner can write to, or that belongs to none of these users. */
function doubtUnless(owners: readonly number[], ownGroup: number): Doubt {
  return (path) => {
    const { uid, gid, mode } = statSync(path);
    // A group for each user alone is the default of many systems, which then let it write.
    if ((mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && gid !== ownGroup)) return "others can write to it";
    return owners.includes(uid) ? undefined : "it belongs to another user";
  };
}

/** The folder of the project that a package is part of: the one that holds its `node_modules`, or the workspace. */
function projectOf(packageFolder: string): string {
  const modules = packageFolder.indexOf(`${sep}node_modules${sep}`);
  return modules < 0 ? dirname(dirname(packageFolder)) : packageFolder.slice(0, modules) || sep;
}

/** What is in the last folder of a path, the newest first, if nobody else could write to any part of it. */
function librariesIn(path: readonly string[], doubt: Doubt): CachedLibrary[] {
  const cache = path.at(-1)!;
  if (!existsSync(cache)) return [];
  const firstDoubt = (paths: readonly string[]): string | undefined => paths.map(doubt).find((reason) => reason !== undefined);
  try {
    const refused = firstDoubt(path);
    if (refused !== undefined) return [{ where: cache, refused }];
    const complete = readdirSync(cache).sort().reverse().map((name) => join(cache, name)).filter((folder) => existsSync(join(folder, ".complete")));
    return complete.flatMap((folder): CachedLibrary[] => {
      const files = findLibraryFiles(join(folder, "tensorflow"));
      if (!files) return [];
      const addon = [join(files.folder, "tfjs_binding.node")].filter((file) => existsSync(file));
      const reason = firstDoubt([folder, files.folder, ...files.files, ...addon]);
      return [reason === undefined ? { files, addon: addon[0] } : { where: files.folder, refused: reason }];
    });
  } catch (error) {
    return [{ where: cache, refused: (error as Error).message }];
  }
}

/** A cache by the folders on the way to it. */
const wayTo = (folder: string, ...names: string[]): string[] => [folder, ...names.map((_, i) => join(folder, ...names.slice(0, i + 1)))];

/**
 * The TensorFlows in the caches of a project and of a user. Native code runs with all rights of the process: nothing is loaded that another user
 * could have put there.
 */
export function findCachedLibraries({ packageFolder, workingFolder, userCacheFolder, user }: CachePlaces): CachedLibrary[] {
  const doubt = doubtUnless([user.uid, 0], user.gid);
  const isOwn = (folder: string): boolean => existsSync(folder) && doubtUnless([user.uid], user.gid)(folder) === undefined;
  const project = projectOf(packageFolder);
  // Whoever owns this code, or can write to it, runs in this process already.
  const packageOwner = statSync(packageFolder).uid;
  const doubtProject = doubtUnless([packageOwner], user.gid)(packageFolder) === undefined ? doubtUnless([user.uid, 0, packageOwner], user.gid) : (): undefined => undefined;
  const found = librariesIn(wayTo(project, ".cache", "tensorflow"), doubtProject);
  for (let folder = workingFolder; ; folder = dirname(folder)) {
    if (folder !== project) found.push(...librariesIn(wayTo(folder, ".cache", "tensorflow"), doubt));
    if (!isOwn(folder) || folder === dirname(folder)) break;
  }
  found.push(...librariesIn(wayTo(userCacheFolder, "dramascope", "tensorflow"), doubt));
  return found;
}
