import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findLibraryFiles, type LibraryFiles } from "./native/library.ts";

/** How TensorFlow.js reaches a TensorFlow. */
export type Binding = "koffi" | "addon" | "wasm";

/** What is at a place: libraries, a native addon, or nothing, and why. */
type Found = { files: LibraryFiles } | { addon: string } | { missing: string };

/** A place where a TensorFlow may be. */
export interface Candidate {
  binding: Binding;
  /** Folder, package or variable. */
  where: string;
  /** Looks there. */
  find: () => Found;
}

/** What the search looks at. */
export interface SearchContext {
  env: Readonly<Record<string, string | undefined>>;
  platform: string;
  arch: string;
  /** The C library that this process runs on; TensorFlow's is glibc, Alpine's is musl. */
  libc: "glibc" | "musl";
  /** Whether NVIDIA's driver is loaded. */
  hasGpu: boolean;
  /** Folders whose `.cache/tensorflow`, and that of each folder above, is looked at. */
  startFolders: readonly string[];
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

function cacheCandidates({ startFolders, hasGpu }: SearchContext): Candidate[] {
  const seen = new Set<string>();
  for (const start of startFolders) for (let folder = start; !seen.has(folder); folder = dirname(folder)) seen.add(folder);
  const caches = [...seen].map((folder) => join(folder, ".cache", "tensorflow")).filter((folder) => existsSync(folder));
  const complete = caches.flatMap((cache) => readdirSync(cache).sort().reverse().map((name) => join(cache, name))).filter((folder) => existsSync(join(folder, ".complete")));
  const found = complete.flatMap((folder): Candidate[] => {
    const files = findLibraryFiles(join(folder, "tensorflow"));
    return files ? [{ binding: "koffi", where: files.folder, find: () => ({ files }) }] : [];
  });
  // A CUDA build also computes on the CPU, but takes longer to load.
  const rank = ({ where }: Candidate): number => (where.includes("cuda") === hasGpu ? 0 : 1);
  found.sort((a, b) => rank(a) - rank(b));
  return found.length > 0 ? found : [{ binding: "koffi", where: ".cache/tensorflow", find: () => ({ missing: "nothing was fetched there" }) }];
}

const PYTHON = "import importlib.util as u; s=u.find_spec('tensorflow'); print(next(iter(s.submodule_search_locations)) if s else '')";

function pythonCandidate({ env }: SearchContext): Candidate {
  const find = (): Found => {
    let folder: string;
    try {
      folder = execFileSync("python3", ["-c", PYTHON], { encoding: "utf8", timeout: 5000, stdio: ["ignore", "pipe", "ignore"], env }).trim();
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

/** The machine as it is. The search for the project's cache starts at the working folder and at this package's own. */
export function thisMachine(): SearchContext {
  const { env, platform, arch } = process;
  const libc = platform === "linux" && readFileSync("/proc/self/maps", "utf8").includes("/ld-musl-") ? "musl" : "glibc";
  return { env, platform, arch, libc, hasGpu: existsSync("/proc/driver/nvidia/version"), startFolders: [process.cwd(), dirname(fileURLToPath(import.meta.url))] };
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
