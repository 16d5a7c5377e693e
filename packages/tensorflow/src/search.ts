import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import type * as tfjs from "@tensorflow/tfjs";
import { isNamedByUser, listCandidates, type Binding, type Candidate, type SearchContext } from "./candidates.ts";
import { TensorFlowError } from "./errors.ts";
import type { CandidateOutcome, Diagnostics, LoadedTensorFlow, LoadTensorFlowOptions } from "./load.ts";
import { loadAddon, loadLibrary, type NativeLoad } from "./native/backend.ts";
import { readMaps } from "./native/library.ts";
import { probe, probeRefusal } from "./probe.ts";

function preferenceOf(options: LoadTensorFlowOptions, env: SearchContext["env"]): Binding | undefined {
  const [name, asked] = options.prefer === undefined ? ["DRAMASCOPE_TENSORFLOW", env["DRAMASCOPE_TENSORFLOW"]] : ["prefer", options.prefer as string];
  if (asked === undefined || asked === "" || asked === "auto") return undefined;
  if (asked === "koffi" || asked === "addon" || asked === "wasm") return asked;
  throw new TensorFlowError(`${name} is ${JSON.stringify(asked)}`, { code: "TENSORFLOW_PREFERENCE", hint: "Use koffi, addon, wasm or auto." });
}

function checkNumber(name: string, value: number | undefined, least: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= least && value < 2 ** 31)) return;
  throw new TensorFlowError(`${name} is ${value}`, { code: "TENSORFLOW_OPTION", hint: `Give a whole number from ${least} on.` });
}

function checkDevice({ device = "auto", gpuIndex }: LoadTensorFlowOptions): void {
  if (!["auto", "cpu", "gpu"].includes(device)) throw new TensorFlowError(`device is ${JSON.stringify(device)}`, { code: "TENSORFLOW_OPTION", hint: "Use auto, cpu or gpu." });
  if (device === "cpu" && gpuIndex !== undefined) throw new TensorFlowError(`gpuIndex is ${gpuIndex} and device is cpu`, { code: "TENSORFLOW_OPTION", hint: "Leave one of them out." });
}

/** Whether the CPU would not do. */
function needsGpu({ device, gpuIndex }: LoadTensorFlowOptions): boolean {
  return device === "gpu" || gpuIndex !== undefined;
}

/** Threads inside one operation: TensorFlow takes its own variable where the options say nothing, else all cores. */
function threadsOf({ threads }: LoadTensorFlowOptions, env: SearchContext["env"]): number {
  const fromVariable = Number(env["TF_NUM_INTRAOP_THREADS"]);
  return threads ?? (Number.isSafeInteger(fromVariable) && fromVariable > 0 ? fromVariable : availableParallelism());
}

/** Tries the candidates of a machine in their order; wasm is the last. */
export async function searchTensorFlow(options: LoadTensorFlowOptions, context: SearchContext): Promise<LoadedTensorFlow> {
  const prefer = preferenceOf(options, context.env);
  checkNumber("threads", options.threads, 1);
  checkNumber("gpuIndex", options.gpuIndex, 0);
  checkDevice(options);
  const tf = (await import("@tensorflow/tfjs")).default as typeof tfjs;
  tf.enableProdMode();
  const diagnostics: Diagnostics = { candidates: [], logLines: [], threads: 1, oneDnn: "none" };
  const { candidates } = diagnostics;
  let native: Pick<LoadedTensorFlow, "backend" | "binding" | "version" | "device"> | undefined;
  let heldLibrary: string | undefined;
  if (prefer !== "wasm") {
    for (const candidate of listCandidates(context, prefer)) {
      const { binding, where } = candidate;
      if (native || heldLibrary !== undefined) {
        candidates.push({ binding, where, outcome: "not-tried", ...(native ? {} : { reason: `this process already holds the TensorFlow of ${heldLibrary!}` }) });
        continue;
      }
      const attempt = await tryCandidate(tf, candidate, options);
      candidates.push({ binding, where, ...attempt.outcome });
      diagnostics.logLines.push(...attempt.logLines);
      native = attempt.result;
      if (attempt.holdsLibrary) heldLibrary = where;
      if (!native && isNamedByUser(candidate)) {
        throw new TensorFlowError(`${where}: ${attempt.outcome.reason ?? "unusable"}`, {
          code: "TENSORFLOW_UNUSABLE",
          hint: "Point it at a folder with libtensorflow_cc.so.2 and libtensorflow_framework.so.2, or unset it.",
          cause: attempt.error,
        });
      }
    }
  }
  if (native) {
    candidates.push({ ...WASM, outcome: "not-tried" });
    diagnostics.threads = threadsOf(options, context.env);
    diagnostics.oneDnn = ["0", "false"].includes(context.env["TF_ENABLE_ONEDNN_OPTS"]?.toLowerCase() ?? "") ? "off" : "on";
    return { ...native, tf, diagnostics };
  }
  if (needsGpu(options)) {
    const reasons = candidates.map(({ where, reason }) => `${where}: ${reason ?? "no GPU"}`).join("; ");
    throw new TensorFlowError(`no TensorFlow with a GPU was found (${reasons})`, { code: "TENSORFLOW_NO_GPU", hint: "Install a CUDA build of TensorFlow, or ask for device auto." });
  }
  await useWasm(tf);
  candidates.push({ ...WASM, outcome: "chosen" });
  if (prefer !== "wasm") process.stderr.write("TensorFlow: no native one works here, so wasm computes, several times slower; diagnostics say why\n");
  return { tf, backend: "wasm", binding: null, version: tf.version.tfjs, device: "cpu", diagnostics };
}

const WASM = { binding: "wasm", where: "@tensorflow/tfjs-backend-wasm" } as const;

interface Attempt {
  outcome: Omit<CandidateOutcome, "binding" | "where">;
  logLines: string[];
  /** Whether the process now holds the candidate's libraries, chosen or not. */
  holdsLibrary: boolean;
  result?: Pick<LoadedTensorFlow, "backend" | "binding" | "version" | "device">;
  error?: unknown;
}

/** Looks at a place, loads what is there and makes it compute. */
export async function tryCandidate(tf: typeof tfjs, candidate: Candidate, options: LoadTensorFlowOptions): Promise<Attempt> {
  const found = candidate.find();
  if ("missing" in found) return { outcome: { outcome: "missing", reason: found.missing }, logLines: [], holdsLibrary: false };
  if ("refused" in found) return { outcome: { outcome: "refused", reason: found.refused }, logLines: [], holdsLibrary: false };
  let load: NativeLoad | undefined;
  try {
    load = "files" in found ? await loadLibrary(tf, found.files, options) : await loadAddon(tf, found.addon, options);
    const { binding } = load;
    const gpu = binding.isUsingGpuDevice();
    const problem = (await probe(tf)) ?? probeErrors(binding) ?? (needsGpu(options) && !gpu ? "it sees no GPU" : options.device === "cpu" && gpu ? "it cannot leave the GPU alone" : undefined);
    if (problem !== undefined) throw new Error(problem);
    return {
      outcome: { outcome: "chosen" },
      logLines: load.logLines,
      holdsLibrary: true,
      result: { backend: "tensorflow", binding: "files" in found ? "koffi" : "addon", version: binding.TF_Version, device: gpu ? "gpu" : "cpu" },
    };
  } catch (error) {
    return { outcome: { outcome: "refused", reason: (error as Error).message }, logLines: load?.logLines ?? [], holdsLibrary: load !== undefined || readMaps().includes("/libtensorflow"), error };
  }
}

function probeErrors(binding: NativeLoad["binding"]): string | undefined {
  const ids = [0, 1].map(() => binding.createTensor([2, 3], binding.TF_FLOAT, new Float32Array(6)));
  const attributes = [
    ...["transpose_a", "transpose_b"].map((name) => ({ name, type: binding.TF_ATTR_BOOL, value: false })),
    { name: "T", type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT },
  ];
  try {
    return probeRefusal((name, inputs) => binding.executeOp(name, attributes, inputs, 1), ids);
  } finally {
    ids.forEach((id) => binding.deleteTensor(id));
  }
}

async function useWasm(tf: typeof tfjs): Promise<void> {
  const wasm = (await import("@tensorflow/tfjs-backend-wasm")) as unknown as { setWasmPaths: (prefix: string) => void };
  const require = createRequire(import.meta.url);
  wasm.setWasmPaths(`${dirname(require.resolve("@tensorflow/tfjs-backend-wasm"))}/`);
  await tf.setBackend("wasm");
  const problem = await probe(tf);
  if (problem !== undefined) throw new TensorFlowError(`wasm: ${problem}`, { code: "TENSORFLOW_UNUSABLE", hint: "Update Node.js; this processor or build cannot run TensorFlow.js." });
}
