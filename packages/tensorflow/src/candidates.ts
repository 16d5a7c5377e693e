import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findLibraryFiles, type LibraryFiles } from "./native/library.ts";

/** How TensorFlow.js reaches a TensorFlow. */
export type Binding = "koffi" | "addon" | "wasm";

/** A place where a TensorFlow may be. */
export type Candidate =
  | { binding: "koffi"; where: string; files: LibraryFiles }
  | { binding: "addon"; where: string; addon: string }
  | { binding: Binding; where: string; missing: string };

/** What the search looks at. */
export interface SearchContext {
  env: Readonly<Record<string, string | undefined>>;
  platform: string;
  arch: string;
  /** Folders whose `.cache/tensorflow`, and that of each folder above, is looked at. */
  startFolders: readonly string[];
}

const ADDONS = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"];

function addonCandidates(): Candidate[] {
  const require = createRequire(import.meta.url);
  return ADDONS.map((name): Candidate => {
    let folder: string;
    try {
      folder = dirname(require.resolve(`${name}/package.json`));
    } catch {
      return { binding: "addon", where: name, missing: "the package is not installed" };
    }
    const addon = ["napi-v9", "napi-v8", "napi-v7", "napi-v6"].map((version) => join(folder, "lib", version, "tfjs_binding.node")).find((path) => existsSync(path));
    return addon === undefined ? { binding: "addon", where: name, missing: "its native part was never built or fetched" } : { binding: "addon", where: name, addon };
  });
}

function cacheCandidates(startFolders: readonly string[]): Candidate[] {
  const seen = new Set<string>();
  for (const start of startFolders) for (let folder = start; !seen.has(folder); folder = dirname(folder)) seen.add(folder);
  const caches = [...seen].map((folder) => join(folder, ".cache", "tensorflow")).filter((folder) => existsSync(folder));
  const complete = caches.flatMap((cache) => readdirSync(cache).sort().reverse().map((name) => join(cache, name))).filter((folder) => existsSync(join(folder, ".complete")));
  const found = complete.flatMap((folder): Candidate[] => {
    const files = findLibraryFiles(join(folder, "tensorflow"));
    return files ? [{ binding: "koffi", where: files.folder, files }] : [];
  });
  // A CUDA build also computes on the CPU, so it comes first where it was fetched on purpose.
  found.sort((a, b) => Number(b.where.includes("cuda")) - Number(a.where.includes("cuda")));
  return found.length > 0 ? found : [{ binding: "koffi", where: ".cache/tensorflow", missing: "nothing was fetched there" }];
}

const PYTHON = "import importlib.util as u; s=u.find_spec('tensorflow'); print(next(iter(s.submodule_search_locations)) if s else '')";

function pythonCandidate(): Candidate {
  const where = "python3's TensorFlow";
  try {
    const folder = execFileSync("python3", ["-c", PYTHON], { encoding: "utf8", timeout: 5000, stdio: ["ignore", "pipe", "ignore"] }).trim();
    const files = folder === "" ? undefined : findLibraryFiles(folder);
    return files ? { binding: "koffi", where: folder, files } : { binding: "koffi", where, missing: "the active Python has no TensorFlow" };
  } catch {
    return { binding: "koffi", where, missing: "python3 was not found" };
  }
}

/** Folders where a search for the project's cache starts: the working folder and this package's own. */
export function defaultStartFolders(): string[] {
  return [process.cwd(), dirname(fileURLToPath(import.meta.url))];
}

/** All candidates but wasm, in the order in which they are tried. */
export function* searchCandidates({ env, platform, arch, startFolders }: SearchContext): Generator<Candidate> {
  const named = env["DRAMASCOPE_LIBTENSORFLOW"];
  if (named !== undefined && named !== "") {
    const files = findLibraryFiles(named);
    const where = `DRAMASCOPE_LIBTENSORFLOW=${named}`;
    yield files ? { binding: "koffi", where, files } : { binding: "koffi", where, missing: existsSync(named) ? "it holds no libtensorflow_cc.so.2 with libtensorflow_framework.so.2" : "the path does not exist" };
  }
  yield* addonCandidates();
  if (platform !== "linux" || arch !== "x64") {
    yield { binding: "koffi", where: `${platform} ${arch}`, missing: "native TensorFlow is served on Linux x86-64 only" };
    return;
  }
  yield* cacheCandidates(startFolders);
  yield pythonCandidate();
}
