import { chmodSync, chownSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { findCachedLibraries, type CachedLibrary, type CachePlaces } from "../src/caches.ts";

const base = realpathSync(mkdtempSync(join(tmpdir(), "dramascope-caches-")));
afterAll(() => rmSync(base, { recursive: true }));

let root: string;
let places: CachePlaces;
const own = { uid: process.getuid!(), gid: process.getgid!() };
const stranger = { uid: own.uid + 4242, gid: own.gid + 4242 };

/** A folder that nobody else can write to, whatever this process's umask is; nor to those on the way to it. */
function makeFolder(path: string): string {
  mkdirSync(path, { recursive: true });
  for (let folder = path; folder !== base; folder = dirname(folder)) chmodSync(folder, 0o755);
  return path;
}

/** A fetched TensorFlow in a cache; gives the folder of its libraries. */
function fetchInto(cache: string, name = "tensorflow-1-cpu"): string {
  const folder = makeFolder(join(cache, name, "tensorflow"));
  for (const file of ["libtensorflow_framework.so.2", "libtensorflow_cc.so.2"]) {
    writeFileSync(join(folder, file), "");
    chmodSync(join(folder, file), 0o644);
  }
  writeFileSync(join(cache, name, ".complete"), "");
  return folder;
}

beforeEach(() => {
  root = makeFolder(mkdtempSync(join(base, "case-")));
  places = {
    packageFolder: makeFolder(join(root, "project", "packages", "tensorflow")),
    workingFolder: makeFolder(join(root, "home", "job")),
    userCacheFolder: makeFolder(join(root, "home", ".cache")),
    user: own,
  };
});

const described = (found: readonly CachedLibrary[]): unknown[] => found.map((one) => ("files" in one ? one.files.folder : [one.where, one.refused]));
const search = (changes: Partial<CachePlaces> = {}): unknown[] => described(findCachedLibraries({ ...places, ...changes }));

describe("the caches that are looked at", () => {
  it("are those of the project, of the working folder and above, and of the user, in this order, the newest of each first", () => {
    const project = fetchInto(join(root, "project", ".cache", "tensorflow"));
    const old = fetchInto(join(root, "home", "job", ".cache", "tensorflow"), "tensorflow-1-cpu");
    const newer = fetchInto(join(root, "home", "job", ".cache", "tensorflow"), "tensorflow-2-cpu");
    const above = fetchInto(join(root, "home", ".cache", "tensorflow"));
    const user = fetchInto(join(root, "home", ".cache", "dramascope", "tensorflow"));
    expect(search()).toEqual([project, newer, old, above, user]);
  });

  it("are the project's once, wherever in it the work is done, and that above node_modules for an installed package", () => {
    const project = fetchInto(join(root, "project", ".cache", "tensorflow"));
    expect(search({ workingFolder: places.packageFolder })).toEqual([project]);
    expect(search({ packageFolder: makeFolder(join(root, "project", "node_modules", "@dramascope", "tensorflow")) })).toEqual([project]);
  });

  it("name the addon that was built beside the libraries", () => {
    const folder = fetchInto(join(root, "project", ".cache", "tensorflow"));
    const addon = join(folder, "tfjs_binding.node");
    writeFileSync(addon, "");
    chmodSync(addon, 0o644);
    expect(findCachedLibraries(places)).toMatchObject([{ addon }]);
    chmodSync(addon, 0o666);
    expect(search()).toEqual([[folder, "others can write to it"]]);
  });

  it("hold only what was fetched whole", () => {
    const folder = fetchInto(join(root, "project", ".cache", "tensorflow"));
    rmSync(join(dirname(folder), ".complete"));
    expect(search()).toEqual([]);
  });

  it("are none where there is none", () => {
    expect(search({ workingFolder: "/nonexistent/folder", userCacheFolder: "/nonexistent" })).toEqual([]);
  });
});

describe("a cache that another user could have filled", () => {
  it("is refused, and nothing above it is looked at, where others can write to the working folder", () => {
    const cache = join(root, "home", "job", ".cache", "tensorflow");
    fetchInto(cache);
    fetchInto(join(root, "home", ".cache", "tensorflow"));
    chmodSync(places.workingFolder, 0o777);
    expect(search()).toEqual([[cache, "others can write to it"]]);
    chmodSync(places.workingFolder, 0o1777);
    expect(search()).toEqual([[cache, "others can write to it"]]);
  });

  it.each([".cache", ".cache/tensorflow"])("is refused where others can write to %s", (part) => {
    const cache = join(root, "home", "job", ".cache", "tensorflow");
    fetchInto(cache);
    chmodSync(join(places.workingFolder, part), 0o757);
    expect(search()).toEqual([[cache, "others can write to it"]]);
  });

  it.each(["..", ".", "libtensorflow_cc.so.2"])("is refused where others can write to what was fetched: %s", (part) => {
    const folder = fetchInto(join(places.userCacheFolder, "dramascope", "tensorflow"));
    chmodSync(join(folder, part), 0o777);
    expect(search()).toEqual([[folder, "others can write to it"]]);
  });

  it("is refused where it is another user's, and so is one that a group can write to that is not the user's own", () => {
    const cache = join(root, "home", "job", ".cache", "tensorflow");
    const folder = fetchInto(cache);
    const atHome = { userCacheFolder: "/nonexistent" };
    // The superuser's own files are nobody's danger: theirs is the test where it runs.
    if (own.uid === 0) chownSync(places.workingFolder, stranger.uid, own.gid);
    expect(search({ ...atHome, user: { uid: own.uid === 0 ? 0 : stranger.uid, gid: own.gid } })).toEqual([[cache, "it belongs to another user"]]);
    if (own.uid === 0) chownSync(places.workingFolder, 0, own.gid);
    chmodSync(places.workingFolder, 0o775);
    expect(search(atHome)).toEqual([folder]);
    expect(search({ ...atHome, user: { ...own, gid: stranger.gid } })).toEqual([[cache, "others can write to it"]]);
  });

  it("is the project's own all the same where the package itself is theirs", () => {
    const cache = join(root, "project", ".cache", "tensorflow");
    const folder = fetchInto(cache);
    expect(search({ user: stranger })).toEqual([folder]);
    chmodSync(cache, 0o777);
    expect(search()).toEqual([[cache, "others can write to it"]]);
    chmodSync(places.packageFolder, 0o777);
    expect(search()).toEqual([folder]);
  });

  it("is refused with the system's words where it cannot be listed", () => {
    makeFolder(join(places.workingFolder, ".cache"));
    const cache = join(places.workingFolder, ".cache", "tensorflow");
    writeFileSync(cache, "");
    chmodSync(cache, 0o644);
    expect(search()).toEqual([[cache, expect.stringMatching(/^ENOTDIR: /u)]]);
  });
});
