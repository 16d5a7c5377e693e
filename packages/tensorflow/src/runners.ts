import type * as tfjs from "@tensorflow/tfjs";
import type { CompiledInputs, Tensors } from "./compile.ts";
import { TensorFlowError } from "./errors.ts";
import { bindingOf, type NodeBackend } from "./native/backend.ts";
import type { Binding, TensorMetadata } from "./native/binding.ts";
import { compileFunction } from "./native/compiled-function.ts";
import { TF_DTYPES } from "./native/dtypes.ts";
import { runEagerly } from "./native/eager-function.ts";
import type { Body, TensorSpec } from "./ops.ts";
import { RawTensor, type TensorLike } from "./raw-tensor.ts";
import { tfjsOps } from "./tfjs-ops.ts";

/** One way to run a body; inputs were checked. */
export interface Runner {
  mode: "function" | "eager";
  run: (inputs: CompiledInputs) => Record<string, TensorLike>;
  runAsync: (inputs: CompiledInputs, signal: AbortSignal | undefined) => Promise<Record<string, TensorLike>>;
  dispose: () => void;
}

type Specs = Readonly<Record<string, TensorSpec>>;

/** The way in which the current back end runs a body, as one function if that is wanted and there is one. */
export function createRunner(tf: typeof tfjs, name: string, specs: Specs, body: Body, wanted: "function" | "eager"): Runner {
  const backend = tf.backend();
  const binding = bindingOf(backend);
  if (!binding) return tfjsRunner(tf, name, body);
  return wanted === "function" ? functionRunner(backend as unknown as NodeBackend, binding, name, specs, body) : nativeEagerRunner(backend as unknown as NodeBackend, binding, name, specs, body);
}

/** What runs at once, where nothing can run beside JavaScript. */
function eagerRunner(name: string, compute: Runner["run"]): Runner {
  const run = (inputs: CompiledInputs): Record<string, TensorLike> => {
    try {
      return compute(inputs);
    } catch (error) {
      if (TensorFlowError.isInstance(error)) throw error;
      throw new TensorFlowError(`${name}: ${(error as Error).message}`, { code: "COMPILE_RUN", cause: error, hint: "The message names the operation and its shapes." });
    }
  };
  return { mode: "eager", run, runAsync: (inputs) => Promise.resolve(run(inputs)), dispose: () => undefined };
}

function tfjsRunner(tf: typeof tfjs, name: string, body: Body): Runner {
  return eagerRunner(name, (inputs) =>
    tf.tidy(() => {
      const outputs = body(tfjsOps(tf), inputs as Tensors);
      // A body may hand an input through, or one value out twice; the caller owns each apart.
      const taken = new Set<TensorLike>(Object.values(inputs));
      return Object.fromEntries(
        Object.entries(outputs).map(([key, value]) => {
          const own = taken.has(value) ? tf.clone(value) : value;
          taken.add(own);
          return [key, own];
        }),
      );
    }),
  );
}

/** Native ids of tensors in, tensors of native results out. */
interface Crossing {
  /** Inputs in the order of {@link Crossing.ids}. */
  keys: readonly string[];
  ids: (inputs: CompiledInputs) => number[];
  tensors: (results: ReadonlyMap<string, TensorMetadata>) => Record<string, TensorLike>;
}

function crossing(backend: NodeBackend, binding: Binding, specs: Specs): Crossing {
  const raw = Object.keys(specs).filter((key) => specs[key]!.dtype === "bfloat16");
  const plain = Object.keys(specs).filter((key) => specs[key]!.dtype !== "bfloat16");
  return {
    keys: [...plain, ...raw],
    ids: (inputs) => [...backend.getInputTensorIds(plain.map((key) => inputs[key] as tfjs.Tensor)), ...raw.map((key) => (inputs[key] as RawTensor).id)],
    tensors: (results) =>
      Object.fromEntries(Array.from(results, ([key, metadata]) => [key, metadata.dtype === TF_DTYPES.bfloat16 ? new RawTensor(binding, metadata.id, metadata.shape) : backend.createOutputTensor(metadata)])),
  };
}

function nativeEagerRunner(backend: NodeBackend, binding: Binding, name: string, specs: Specs, body: Body): Runner {
  const { keys, ids, tensors } = crossing(backend, binding, specs);
  return eagerRunner(name, (inputs) => {
    const given = ids(inputs);
    return tensors(runEagerly(binding, body, new Map(keys.map((key, i) => [key, { id: given[i]!, shape: [...specs[key]!.shape], dtype: TF_DTYPES[specs[key]!.dtype] }]))));
  });
}

function functionRunner(backend: NodeBackend, binding: Binding, name: string, specs: Specs, body: Body): Runner {
  const { keys, ids, tensors } = crossing(backend, binding, specs);
  const made = compileFunction(binding, name, new Map(keys.map((key) => [key, specs[key]!])), body);
  return {
    mode: "function",
    run: (inputs) => tensors(made.run(ids(inputs))),
    runAsync: async (inputs, signal) => tensors(await made.runAsync(ids(inputs), signal)),
    dispose: made.dispose,
  };
}
