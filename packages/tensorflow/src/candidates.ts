import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findCachedLibraries, type CachePlaces } from "./caches.ts";
import { findLibraryFiles, readMaps, type LibraryFiles } from "./native/library.ts";

/** How TensorFlow.js reaches a TensorFlow. */
export type Binding = "koffi" | "addon" | "wasm";

/** What is at a place: libraries, a native addon, nothing, or something that is left alone, and why. */
type Found = { files: LibraryFiles } | { addon: string } | { missing: string } | { refused: string };

/** A place where a TensorFlow may be. */
export interface Candidate {
  binding: Binding;
  /** Folder, package or variable. */
  where: string;
  /** Looks there. */
  find: () => Found;
}

/** What the search looks at. */
export interface SearchContext extends CachePlaces {
  env: Readonly<Record<string, string | undefined>>;
  platform: string;
  arch: string;
  /** The C library that this process runs on; TensorFlow's is glibc, Alpine's is musl. */
  libc: "glibc" | "musl";
  /** Whether NVIDIA's driver is loaded. */
  hasGpu: boolean;
}

const ADDONS = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"];

function addonCandidate(name: string): Candidate {
  const find = (): Found => {
    let folder: string;
    try {
      folder = dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
    } catch {
      return { missing: "the package is not installed" };
    }
    const addon = ["napi-v9", "napi-v8", "napi-v7", "napi-v6"].map((version) => join(folder, "lib", version, "tfjs_binding.node")).find((path) => existsSync(path));
    return addon === undefined ? { missing: "its native part was never built or fetched" } : { addon };
  };
  return { binding: "addon", where: name, find };
}

function cacheCandidates(context: SearchContext): Candidate[] {
  const found = findCachedLibraries(context).flatMap((cached): Candidate[] => {
    if ("refused" in cached) return [{ binding: "koffi", where: cached.where, find: () => cached }];
    const { files, addon } = cached;
    const library: Candidate = { binding: "koffi", where: files.folder, find: () => ({ files }) };
    return addon === undefined ? [library] : [library, { binding: "addon", where: addon, find: () => ({ addon }) }];
  });
  // A CUDA build also computes on the CPU, but takes longer to load.
  const rank = ({ where }: Candidate): number => (where.includes("cuda") === context.hasGpu ? 0 : 1);
  found.sort((a, b) => rank(a) - rank(b));
  return found.length > 0 ? found : [{ binding: "koffi", where: ".cache/tensorflow", find: () => ({ missing: "nothing was fetched there" }) }];
}

const PYTHON = "import importlib.util as u; s=u.find_spec('tensorflow'); print(next(iter(s.submodule_search_locations)) if s else '')";

function pythonCandidate({ env }: SearchContext): Candidate {
  const find = (): Found => {
    let folder: string;
    try {
      // Python looks for modules in the working folder first, where another user may have put one.
      folder = execFileSync("python3", ["-c", PYTHON], { encoding: "utf8", timeout: 5000, stdio: ["ignore", "pipe", "ignore"], env, cwd: "/" }).trim();
    } catch {
      return { missing: "python3 was not found" };
    }
    const files = folder === "" ? undefined : findLibraryFiles(folder);
    return files ? { files } : { missing: "the active Python has no TensorFlow" };
  };
  return { binding: "koffi", where: "python3's TensorFlow", find };
}

const VARIABLE = "DRAMASCOPE_LIBTENSORFLOW";

/** Whether the user asked for this very library. */
export function isNamedByUser({ where }: Pick<Candidate, "where">): boolean {
  return where.startsWith(`${VARIABLE}=`);
}

function namedCandidate(path: string): Candidate {
  const find = (): Found => {
    const files = findLibraryFiles(path);
    if (files) return { files };
    return { missing: existsSync(path) ? "it holds no libtensorflow_cc.so.2 with libtensorflow_framework.so.2" : "the path does not exist" };
  };
  return { binding: "koffi", where: `${VARIABLE}=${path}`, find };
}

/** The machine as it is. */
export function thisMachine(): SearchContext {
  const { env, platform, arch } = process;
  const caches = env["XDG_CACHE_HOME"] ?? "";
  return {
    env,
    platform,
    arch,
    libc: readMaps().includes("/ld-musl-") ? "musl" : "glibc",
    hasGpu: existsSync("/proc/driver/nvidia/version"),
    packageFolder: dirname(dirname(fileURLToPath(import.meta.url))),
    workingFolder: process.cwd(),
    userCacheFolder: isAbsolute(caches) ? caches : join(homedir(), ".cache"),
    user: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
  };
}

/** All candidates but wasm, in the order in which they are tried: the one that the user named first, then those of the preferred binding. */
export function listCandidates(context: SearchContext, prefer?: Binding): Candidate[] {
  const named = context.env[VARIABLE];
  const found = ADDONS.map(addonCandidate);
  const { platform, arch, libc } = context;
  if (platform === "linux" && arch === "x64" && libc === "glibc") found.push(...cacheCandidates(context), pythonCandidate(context));
  else found.push({ binding: "koffi", where: `${platform} ${arch}${libc === "musl" ? " with musl" : ""}`, find: () => ({ missing: "native TensorFlow is served on Linux x86-64 with glibc only" }) });
  found.sort((a, b) => Number(b.binding === prefer) - Number(a.binding === prefer));
  return named === undefined || named === "" ? found : [namedCandidate(named), ...found];
}
