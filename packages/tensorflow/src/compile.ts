import type * as tfjs from "@tensorflow/tfjs";
import { TensorFlowError } from "./errors.ts";
import { bindingOf, type NodeBackend } from "./native/backend.ts";
import { TF_DTYPES, type Binding, type TensorMetadata } from "./native/binding.ts";
import { GraphRecorder, type GraphValue } from "./native/graph.ts";
import type { Body, TensorSpec } from "./ops.ts";
import { RawTensor, type TensorLike } from "./raw-tensor.ts";
import { tfjsOps } from "./tfjs-ops.ts";

/** Tensors by name. */
export type Tensors = Readonly<Record<string, tfjs.Tensor>>;

/** Inputs of a compiled function by name: {@link Tensors}, with a {@link RawTensor} where bfloat16 is declared. */
export type CompiledInputs = Readonly<Record<string, TensorLike>>;

/**
 * A computation that can be called on tensors of the declared shapes. The results belong to the caller. `Output` is TensorFlow.js's
 * tensor unless the body has bfloat16 results, which come as {@link RawTensor}.
 */
export interface Compiled<Output extends TensorLike = tfjs.Tensor> {
  (inputs: CompiledInputs): Record<string, Output>;
  /** `function`: one TensorFlow call; `eager`: operation by operation. */
  readonly mode: "function" | "eager";
  /** Frees the function; using it afterwards is an error. */
  dispose(): void;
}

/** Options of {@link compile}. */
export interface CompileOptions {
  /** `eager` never compiles. Default `auto`: compile where the back end can, unless `DRAMASCOPE_COMPILE=off`. */
  mode?: "auto" | "eager";
}

/** Functions of one context need names of their own. */
let functionCount = 0;

const describeSpec = ({ shape, dtype }: { shape: readonly number[]; dtype: string }): string => `${dtype}[${shape.join(",")}]`;

/** Compares the given tensors with the declared ones; TensorFlow itself would broadcast a wrong shape in silence. */
function checkInputs(name: string, specs: Readonly<Record<string, TensorSpec>>, inputs: CompiledInputs): void {
  for (const [key, spec] of Object.entries(specs)) {
    const tensor = inputs[key];
    const problem =
      tensor === undefined
        ? "is missing"
        : tensor.isDisposed
          ? "was disposed"
          : tensor.dtype !== spec.dtype || tensor.shape.length !== spec.shape.length || tensor.shape.some((size, axis) => size !== spec.shape[axis])
            ? `is ${describeSpec(tensor)}, expected ${describeSpec(spec)}`
            : undefined;
    if (problem !== undefined) throw new TensorFlowError(`${name}: input ${key} ${problem}`, { code: "COMPILE_INPUT", hint: "Give tensors of the shapes that the function was compiled for." });
  }
  for (const key of Object.keys(inputs)) {
    if (!(key in specs)) throw new TensorFlowError(`${name}: there is no input ${key}`, { code: "COMPILE_INPUT", hint: `Its inputs are ${Object.keys(specs).join(", ")}.` });
  }
}

/**
 * Turns a pure body into a callable: on native TensorFlow through koffi one call of a recorded function, elsewhere operation by
 * operation with the same results to rounding.
 *
 * @param tf     TensorFlow.js with its back end active.
 * @param name   Names the function in errors.
 * @param inputs Shape and type of each input; at least one.
 */
export function compile<Output extends TensorLike = tfjs.Tensor>(tf: typeof tfjs, name: string, inputs: Readonly<Record<string, TensorSpec>>, body: Body, options: CompileOptions = {}): Compiled<Output> {
  const backend = tf.backend();
  const binding = bindingOf(backend);
  const wantsFunction = options.mode !== "eager" && process.env["DRAMASCOPE_COMPILE"] !== "off";
  const made = binding && wantsFunction ? compileFunction(backend as unknown as NodeBackend, binding, name, inputs, body) : eager(tf, name, inputs, body);
  return made as Compiled<Output>;
}

function eager(tf: typeof tfjs, name: string, specs: Readonly<Record<string, TensorSpec>>, body: Body): Compiled<TensorLike> {
  let disposed = false;
  const call = (inputs: CompiledInputs): Record<string, TensorLike> => {
    if (disposed) throw disposedError(name);
    checkInputs(name, specs, inputs);
    return tf.tidy(() => {
      const outputs = body(tfjsOps(tf), inputs as Tensors);
      // A body may hand an input through; its caller owns inputs and results apart.
      const given = new Set(Object.values(inputs));
      return Object.fromEntries(Object.entries(outputs).map(([key, value]) => [key, given.has(value) ? tf.clone(value) : value]));
    });
  };
  return Object.assign(call, { mode: "eager" as const, dispose: () => void (disposed = true) });
}

function disposedError(name: string): TensorFlowError {
  return new TensorFlowError(`${name} was disposed`, { code: "COMPILE_DISPOSED", hint: "Compile it again." });
}

function compileFunction(backend: NodeBackend, binding: Binding, name: string, specs: Readonly<Record<string, TensorSpec>>, body: Body): Compiled<TensorLike> {
  const { c, status, check, context } = binding.raw;
  const plainKeys = Object.keys(specs).filter((key) => specs[key]!.dtype !== "bfloat16");
  const rawKeys = Object.keys(specs).filter((key) => specs[key]!.dtype === "bfloat16");
  const functionName = `${name.replace(/[^A-Za-z0-9_]/gu, "_").replace(/^[^A-Za-z]/u, "F").replace(/^[a-z]/u, (first) => first.toUpperCase())}_${functionCount++}`;
  const recorder = new GraphRecorder(binding);
  let outputKeys: string[];
  let made: bigint;
  try {
    const placeholders = [...plainKeys, ...rawKeys].map((key): [string, GraphValue] => [key, recorder.placeholder(`input/${key}`, specs[key]!)]);
    const outputs = body(recorder.ops(), Object.fromEntries(placeholders));
    outputKeys = Object.keys(outputs);
    made = recorder.finish(functionName, placeholders.map(([, value]) => value), Object.values(outputs));
  } catch (error) {
    if (TensorFlowError.isInstance(error)) throw error;
    throw new TensorFlowError(`${name}: ${(error as Error).message}`, { code: "COMPILE_BODY", cause: error, hint: "The message names the operation and its shapes." });
  }

  let op = 0n;
  let disposed = false;
  const results = new BigUint64Array(Math.max(1, outputKeys.length));
  const count = new Int32Array(1);

  const resultOf = (metadata: TensorMetadata): TensorLike =>
    metadata.dtype === TF_DTYPES.bfloat16 ? new RawTensor(binding, metadata.id, metadata.shape) : backend.createOutputTensor(metadata);

  const call = (inputs: CompiledInputs): Record<string, TensorLike> => {
    if (disposed) throw disposedError(name);
    checkInputs(name, specs, inputs);
    const ids = backend.getInputTensorIds(plainKeys.map((key) => inputs[key] as tfjs.Tensor));
    for (const key of rawKeys) ids.push((inputs[key] as RawTensor).id);
    if (op === 0n) op = c.TFE_NewOp(context, functionName, status) as bigint;
    else c.TFE_OpReset(op, functionName, null, status);
    try {
      check();
      for (const id of ids) c.TFE_OpAddInput(op, binding.handleOf(id), status);
      check();
      count[0] = outputKeys.length;
      c.TFE_Execute(op, results, count, status);
      check();
    } catch (error) {
      c.TFE_DeleteOp(op);
      op = 0n;
      throw new TensorFlowError(`${name}: ${(error as Error).message}`, { code: "COMPILE_RUN", cause: error, hint: "The message names the node inside the function." });
    }
    return Object.fromEntries(outputKeys.map((key, i) => [key, resultOf(binding.adopt(results[i]!))]));
  };
  const dispose = (): void => {
    if (disposed) return;
    disposed = true;
    if (op !== 0n) c.TFE_DeleteOp(op);
    c.TFE_ContextRemoveFunction(context, functionName, status);
    c.TF_DeleteFunction(made);
  };
  return Object.assign(call, { mode: "function" as const, dispose });
}
