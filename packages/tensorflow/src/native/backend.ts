import { createRequire } from "node:module";
import type * as tfjs from "@tensorflow/tfjs";
import { createBinding, type Binding, type BindingOptions, type TensorMetadata } from "./binding.ts";
import { openLibrary, type Koffi, type LibraryFiles } from "./library.ts";
import { captureStandardError } from "./standard-error.ts";

/** TensorFlow.js's node back end as far as compiled functions use it. */
export interface NodeBackend {
  getInputTensorIds(tensors: readonly tfjs.Tensor[]): number[];
  createOutputTensor(metadata: TensorMetadata): tfjs.Tensor;
}

interface BackendModule {
  NodeJSKernelBackend: new (binding: Binding, packageName: string) => NodeBackend & tfjs.KernelBackend;
}

/** Bindings by the back end object that uses them: how a compiled function finds the native side. */
const bindings = new WeakMap<object, Binding>();

/** The binding behind TensorFlow.js's current back end; undefined for any other back end. */
export function bindingOf(backend: object): Binding | undefined {
  return bindings.get(backend);
}

/** Name under which the kernels of the node package are registered. */
const BACKEND = "tensorflow";

/** Connects TensorFlow.js to the libraries and makes them its back end. */
export async function installNativeBackend(tf: typeof tfjs, koffi: Koffi, files: LibraryFiles, options: BindingOptions): Promise<{ binding: Binding; logLines: string[] }> {
  const require = createRequire(import.meta.url);
  // Node 23 removed a helper that the kernels still call.
  const util = require("node:util") as Record<string, unknown>;
  util["isNullOrUndefined"] ??= (value: unknown) => value === null || value === undefined;
  util["isArray"] = Array.isArray; // the original prints a deprecation warning
  const { result: binding, lines: logLines } = captureStandardError(koffi, () => createBinding(openLibrary(koffi, files), options));
  const { NodeJSKernelBackend } = require("@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend") as BackendModule;
  require("@tensorflow/tfjs-node-gpu/dist/register_all_kernels");
  if (BACKEND in tf.engine().registryFactory) tf.removeBackend(BACKEND);
  tf.registerBackend(BACKEND, () => {
    const backend = new NodeJSKernelBackend(binding, "@tensorflow/tfjs-node-gpu");
    bindings.set(backend, binding);
    return backend;
  }, 3);
  if (!(await tf.setBackend(BACKEND))) throw new Error("TensorFlow.js did not accept the back end");
  return { binding, logLines };
}
