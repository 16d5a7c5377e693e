import type * as tfjs from "@tensorflow/tfjs";
import { thisMachine, type Binding } from "./candidates.ts";
import { searchTensorFlow } from "./search.ts";

/** Options of {@link loadTensorFlow}. */
export interface LoadTensorFlowOptions {
  /** Tried first; the others follow in the normal order. Default `DRAMASCOPE_TENSORFLOW`, else that order. `wasm` never touches native code. */
  prefer?: Binding;
  /** Threads inside one operation, 1 or more. Default TensorFlow's own: all cores. On wasm always 1. */
  threads?: number;
  /** `gpu` fails instead of falling back to the CPU; `cpu` leaves a GPU alone. Default `auto`: a GPU where there is one. */
  device?: "auto" | "cpu" | "gpu";
  /** Which of the visible GPUs, from 0; through koffi only. Fails like `device: "gpu"` where there is none. Default: TensorFlow's own choice, the first. */
  gpuIndex?: number;
  /**
   * Whether a GPU may round the inputs of float32 products to TensorFloat-32, about three decimal digits. Default true, TensorFlow's own. False sets
   * `NVIDIA_TF32_OVERRIDE=0` for the whole process, which works only before anything else has used CUDA: make it the first call.
   */
  allowTf32?: boolean;
}

/** What became of one candidate. */
export interface CandidateOutcome {
  binding: Binding;
  /** Folder, package or variable. */
  where: string;
  /** `not-tried` comes after the chosen one, or after a library that was loaded and refused: a process holds one TensorFlow. */
  outcome: "chosen" | "missing" | "refused" | "not-tried";
  /** Why it was not chosen; absent when it was, or was not reached. */
  reason?: string;
}

/** What the search found. */
export interface Diagnostics {
  /** Every place, in the order in which they are looked at. A cache that another user could have written to is `refused`. */
  candidates: CandidateOutcome[];
  /** What TensorFlow printed while it loaded; empty in a worker thread, where it cannot be caught. */
  logLines: string[];
  /** Threads inside one operation. */
  threads: number;
  /** Intel's kernels, which make products and bfloat16 fast: `off` when `TF_ENABLE_ONEDNN_OPTS=0`, `none` on wasm. */
  oneDnn: "on" | "off" | "none";
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
 * working addon, the project's or the user's cache, Python's TensorFlow, else wasm, which it says on stderr unless wasm was asked for. The first successful
 * call decides; later calls return what it found, whatever their options. GPU memory is taken as it is needed.
 *
 * @throws TensorFlowError `TENSORFLOW_UNUSABLE` when a library that the user named does not work; `TENSORFLOW_NO_GPU` when a GPU was asked for;
 *         `TENSORFLOW_PREFERENCE` and `TENSORFLOW_OPTION` for values that do not exist or do not go together.
 */
export function loadTensorFlow(options: LoadTensorFlowOptions = {}): Promise<LoadedTensorFlow> {
  loaded ??= searchTensorFlow(options, thisMachine()).catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}
