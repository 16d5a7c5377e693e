import { createRequire } from "node:module";
import { dirname } from "node:path";
import type * as tfjs from "@tensorflow/tfjs";
import { defaultStartFolders, searchCandidates, type Binding, type Candidate } from "./candidates.ts";
import { TensorFlowError } from "./errors.ts";
import { installNativeBackend } from "./native/backend.ts";
import { probe, probeRefusal } from "./probe.ts";

/** Options of {@link loadTensorFlow}. */
export interface LoadTensorFlowOptions {
  /** Tried first; the others follow in the normal order. Default `DRAMASCOPE_TENSORFLOW`, else koffi. `wasm` never touches native code. */
  prefer?: Binding;
  /** Threads inside one operation. Default TensorFlow's own: all cores. */
  threads?: number;
  /** `gpu` fails instead of falling back to the CPU. Default `auto`. */
  device?: "auto" | "cpu" | "gpu";
}

/** What became of one candidate. */
export interface CandidateOutcome {
  binding: Binding;
  /** Folder, package or variable. */
  where: string;
  outcome: "chosen" | "missing" | "refused" | "not-tried";
  /** Why it was not chosen. */
  reason?: string;
}

/** What the search found. */
export interface Diagnostics {
  /** In the order in which they were looked at. */
  candidates: CandidateOutcome[];
  /** What TensorFlow printed while it loaded. */
  logLines: string[];
}

/** A TensorFlow behind plain TensorFlow.js. */
export interface LoadedTensorFlow {
  /** TensorFlow.js with the chosen back end active. */
  tf: typeof tfjs;
  backend: "tensorflow" | "wasm";
  /** Null on wasm. */
  binding: "koffi" | "addon" | null;
  /** TensorFlow's version, or TensorFlow.js's on wasm. */
  version: string;
  device: "cpu" | "gpu";
  diagnostics: Diagnostics;
}

/** TensorFlow.js has one engine a process, so one search decides for all callers. */
let loaded: Promise<LoadedTensorFlow> | undefined;

/**
 * Finds the best TensorFlow on this machine and puts it behind TensorFlow.js: the library named by `DRAMASCOPE_LIBTENSORFLOW`, a
 * working addon, the project's cache, Python's TensorFlow, else wasm. The first successful call decides; later calls return it.
 *
 * @throws TensorFlowError `TENSORFLOW_UNUSABLE` when a library that the user named does not work; `TENSORFLOW_NO_GPU` when a GPU was asked for.
 */
export function loadTensorFlow(options: LoadTensorFlowOptions = {}): Promise<LoadedTensorFlow> {
  loaded ??= search(options, process.env).catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

function preferenceOf(options: LoadTensorFlowOptions, env: NodeJS.ProcessEnv): Binding | undefined {
  const asked = options.prefer ?? env["DRAMASCOPE_TENSORFLOW"];
  if (asked === undefined || asked === "" || asked === "auto") return undefined;
  if (asked === "koffi" || asked === "addon" || asked === "wasm") return asked;
  throw new TensorFlowError(`DRAMASCOPE_TENSORFLOW is ${JSON.stringify(asked)}`, { code: "TENSORFLOW_PREFERENCE", hint: "Use koffi, addon, wasm or auto." });
}

async function search(options: LoadTensorFlowOptions, env: NodeJS.ProcessEnv): Promise<LoadedTensorFlow> {
  const prefer = preferenceOf(options, env);
  const tf = (await import("@tensorflow/tfjs")).default as typeof tfjs;
  tf.enableProdMode();
  const candidates: CandidateOutcome[] = [];
  const logLines: string[] = [];
  const diagnostics: Diagnostics = { candidates, logLines };
  if (prefer !== "wasm") {
    const found = [...searchCandidates({ env, platform: process.platform, arch: process.arch, startFolders: defaultStartFolders() })];
    const isNamed = ({ where }: Candidate): boolean => where.startsWith("DRAMASCOPE_LIBTENSORFLOW=");
    if (prefer !== undefined) found.sort((a, b) => Number(b.binding === prefer && !isNamed(b)) - Number(a.binding === prefer && !isNamed(a)));
    found.sort((a, b) => Number(isNamed(b)) - Number(isNamed(a)));
    for (const candidate of found) {
      const attempt = await tryCandidate(tf, candidate, options);
      candidates.push({ binding: candidate.binding, where: candidate.where, ...attempt.outcome });
      logLines.push(...attempt.logLines);
      if (attempt.result) return { ...attempt.result, tf, diagnostics };
      if (isNamed(candidate)) {
        throw new TensorFlowError(`${candidate.where}: ${attempt.outcome.reason ?? "unusable"}`, {
          code: "TENSORFLOW_UNUSABLE",
          hint: "Point it at a folder with libtensorflow_cc.so.2 and libtensorflow_framework.so.2, or unset it.",
        });
      }
    }
  }
  if (options.device === "gpu") {
    const reasons = candidates.map(({ where, reason }) => `${where}: ${reason ?? "no GPU"}`).join("; ");
    throw new TensorFlowError(`no TensorFlow with a GPU was found (${reasons})`, { code: "TENSORFLOW_NO_GPU", hint: "Install a CUDA build of TensorFlow, or ask for device auto." });
  }
  await useWasm(tf);
  candidates.push({ binding: "wasm", where: "@tensorflow/tfjs-backend-wasm", outcome: "chosen" });
  return { tf, backend: "wasm", binding: null, version: tf.version.tfjs, device: "cpu", diagnostics };
}

interface Attempt {
  outcome: Omit<CandidateOutcome, "binding" | "where">;
  logLines: string[];
  result?: Pick<LoadedTensorFlow, "backend" | "binding" | "version" | "device">;
}

async function tryCandidate(tf: typeof tfjs, candidate: Candidate, options: LoadTensorFlowOptions): Promise<Attempt> {
  if ("missing" in candidate) return { outcome: { outcome: "missing", reason: candidate.missing }, logLines: [] };
  const logLines: string[] = [];
  try {
    const native = "files" in candidate ? await loadLibrary(tf, candidate.files, options) : await loadAddon(tf, candidate.addon);
    logLines.push(...native.logLines);
    if (native.problem !== undefined) throw new Error(native.problem);
    if (options.device === "gpu" && !native.gpu) throw new Error("it sees no GPU");
    return {
      outcome: { outcome: "chosen" },
      logLines,
      result: { backend: "tensorflow", binding: candidate.binding, version: native.version, device: native.gpu ? "gpu" : "cpu" },
    };
  } catch (error) {
    return { outcome: { outcome: "refused", reason: (error as Error).message }, logLines };
  }
}

interface NativeLoad {
  version: string;
  gpu: boolean;
  logLines: string[];
  problem: string | undefined;
}

async function loadLibrary(tf: typeof tfjs, files: { folder: string; files: readonly string[] }, options: LoadTensorFlowOptions): Promise<NativeLoad> {
  const koffi = (await import("koffi")).default as unknown as typeof import("koffi");
  const threads = options.threads === undefined ? {} : { threads: options.threads };
  const { binding, logLines } = await installNativeBackend(tf, koffi, files, threads);
  const problem = (await probe(tf)) ?? probeErrors(binding);
  return { version: binding.TF_Version, gpu: binding.isUsingGpuDevice(), logLines, problem };
}

function probeErrors(binding: { createTensor: (shape: number[], dtype: number, values: Float32Array) => number; deleteTensor: (id: number) => void; executeOp: (name: string, attributes: never[], ids: number[], outputs: number) => unknown; TF_FLOAT: number }): string | undefined {
  const ids = [0, 1].map(() => binding.createTensor([2, 3], binding.TF_FLOAT, new Float32Array(6)));
  try {
    return probeRefusal((name, inputs) => binding.executeOp(name, [], inputs, 1), ids);
  } finally {
    ids.forEach((id) => binding.deleteTensor(id));
  }
}

async function loadAddon(tf: typeof tfjs, path: string): Promise<NativeLoad> {
  const require = createRequire(import.meta.url);
  const { NodeJSKernelBackend } = require("@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend") as { NodeJSKernelBackend: new (binding: unknown, name: string) => tfjs.KernelBackend };
  const addon = require(path) as { TF_Version: string; isUsingGpuDevice: () => boolean };
  require("@tensorflow/tfjs-node-gpu/dist/register_all_kernels");
  if ("tensorflow" in tf.engine().registryFactory) tf.removeBackend("tensorflow");
  tf.registerBackend("tensorflow", () => new NodeJSKernelBackend(addon, "@tensorflow/tfjs-node-gpu"), 3);
  await tf.setBackend("tensorflow");
  return { version: addon.TF_Version, gpu: addon.isUsingGpuDevice(), logLines: [], problem: await probe(tf) };
}

async function useWasm(tf: typeof tfjs): Promise<void> {
  const wasm = (await import("@tensorflow/tfjs-backend-wasm")) as unknown as { setWasmPaths: (prefix: string) => void };
  const require = createRequire(import.meta.url);
  wasm.setWasmPaths(`${dirname(require.resolve("@tensorflow/tfjs-backend-wasm"))}/`);
  await tf.setBackend("wasm");
  const problem = await probe(tf);
  if (problem !== undefined) throw new TensorFlowError(`wasm: ${problem}`, { code: "TENSORFLOW_UNUSABLE", hint: "Update Node.js; this processor or build cannot run TensorFlow.js." });
}
