import { createRequire } from "node:module";
import type * as tfjs from "@tensorflow/tfjs";
import { createBinding, type Binding, type TensorMetadata } from "./binding.ts";
import type { ContextOptions } from "./configuration.ts";
import { openLibrary, type Koffi, type LibraryFiles } from "./library.ts";
import { captureStandardError } from "./standard-error.ts";

/** TensorFlow.js's node back end as far as compiled functions use it. */
export interface NodeBackend {
  getInputTensorIds(tensors: readonly tfjs.Tensor[]): number[];
  createOutputTensor(metadata: TensorMetadata): tfjs.Tensor;
}

/** What both bindings offer. */
type AnyBinding = Pick<Binding, "TF_Version" | "TF_FLOAT" | "TF_ATTR_BOOL" | "TF_ATTR_TYPE" | "createTensor" | "deleteTensor" | "executeOp" | "isUsingGpuDevice">;

/** A native TensorFlow that is TensorFlow.js's back end now. */
export interface NativeLoad {
  binding: AnyBinding;
  /** What it printed. */
  logLines: string[];
}

/** Options of a native TensorFlow. */
export interface NativeOptions extends ContextOptions {
  /** False keeps float32 products exact on a GPU. Default true. */
  allowTf32?: boolean;
}

/** Bindings by the back end object that uses them: how a compiled function finds the native side. */
const bindings = new WeakMap<object, Binding>();

/** The koffi binding behind TensorFlow.js's current back end; undefined for any other back end. */
export function bindingOf(backend: object): Binding | undefined {
  return bindings.get(backend);
}

/** Name under which the kernels of the node package are registered. */
const BACKEND = "tensorflow";

/** Makes a native side TensorFlow.js's back end, with the kernels of the node package. */
async function install(tf: typeof tfjs, native: object, made: (backend: object) => void): Promise<void> {
  const require = createRequire(import.meta.url);
  // Node 23 removed a helper that the kernels still call; another one prints a deprecation warning.
  const util = require("node:util") as Record<string, unknown>;
  util["isNullOrUndefined"] ??= (value: unknown) => value === null || value === undefined;
  util["isArray"] = Array.isArray;
  const { NodeJSKernelBackend } = require("@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend") as { NodeJSKernelBackend: new (binding: object, packageName: string) => tfjs.KernelBackend };
  require("@tensorflow/tfjs-node-gpu/dist/register_all_kernels");
  if (BACKEND in tf.engine().registryFactory) tf.removeBackend(BACKEND);
  tf.registerBackend(BACKEND, () => {
    const backend = new NodeJSKernelBackend(native, "@tensorflow/tfjs-node-gpu");
    made(backend);
    return backend;
  }, 3);
  if (!(await tf.setBackend(BACKEND))) throw new Error("TensorFlow.js did not accept the back end");
}

async function importKoffi(): Promise<Koffi> {
  return (await import("koffi")).default as unknown as Koffi;
}

/** Connects TensorFlow.js to libraries through koffi. */
export async function loadLibrary(tf: typeof tfjs, files: LibraryFiles, options: NativeOptions): Promise<NativeLoad> {
  const koffi = await importKoffi();
  if (options.allowTf32 === false) setEnvironment(koffi, "NVIDIA_TF32_OVERRIDE", "0");
  const { result: binding, lines: logLines } = captureStandardError(koffi, () => createBinding(openLibrary(koffi, files), options));
  await install(tf, binding, (backend) => bindings.set(backend, binding));
  return { binding, logLines };
}

/** Sets a variable where C code sees it, also from a worker thread, whose `process.env` is a copy. */
function setEnvironment(koffi: Koffi, name: string, value: string): void {
  koffi.load("libc.so.6").func("setenv", "int", ["const char*", "const char*", "int"])(name, value, 1);
}

/** Connects TensorFlow.js to a native addon, which takes its settings from the environment only. */
export async function loadAddon(tf: typeof tfjs, path: string, options: NativeOptions): Promise<NativeLoad> {
  if (options.gpuIndex !== undefined) throw new Error("an addon cannot choose among GPUs: set CUDA_VISIBLE_DEVICES");
  if (options.threads !== undefined) process.env["TF_NUM_INTRAOP_THREADS"] = String(options.threads);
  if (options.allowTf32 === false) process.env["NVIDIA_TF32_OVERRIDE"] = "0";
  process.env["TF_FORCE_GPU_ALLOW_GROWTH"] ??= "true";
  const koffi = await importKoffi().catch(() => undefined);
  const load = (): AnyBinding => createRequire(import.meta.url)(path) as AnyBinding;
  const { result: binding, lines: logLines } = koffi ? captureStandardError(koffi, load) : { result: load(), lines: [] };
  await install(tf, binding, () => undefined);
  return { binding, logLines };
}
