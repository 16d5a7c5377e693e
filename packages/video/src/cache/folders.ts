import { join, resolve } from "node:path";

/** Where the cache keeps what. */
export interface CacheFolders {
  /** The cache itself, absolute. */
  root: string;
  /** Entries, by the first two digits of their key. */
  objects: string;
  /** Entries that are being written or deleted. */
  temporary: string;
  /** Entries that were set aside. */
  bad: string;
  /** One stamp an entry. */
  used: string;
  /** Marks of processes that use an entry. */
  leases: string;
  /** Marks of processes that are about to remove an entry. */
  evicting: string;
  /** Hashes of source files. */
  sources: string;
  /** Folder of one entry. */
  entry: (key: string) => string;
}

/** The folders of a cache. */
export function cacheFolders(dir: string): CacheFolders {
  const root = resolve(dir);
  const objects = join(root, "objects");
  return {
    root,
    objects,
    temporary: join(root, "tmp"),
    bad: join(root, "bad"),
    used: join(root, "used"),
    leases: join(root, "leases"),
    evicting: join(root, "evicting"),
    sources: join(root, "sources"),
    entry: (key) => join(objects, key.slice(0, 2), key),
  };
}
