import type * as tfjs from "@tensorflow/tfjs";
import { elementCount } from "./element-count.ts";
import { TensorFlowError } from "./errors.ts";
import type { Body, TensorSpec } from "./ops.ts";
import type { TensorLike } from "./raw-tensor.ts";
import { createRunner } from "./runners.ts";

/** Tensors by name. */
export type Tensors = Readonly<Record<string, tfjs.Tensor>>;

/** Inputs of a compiled function by name: {@link Tensors}, with a `RawTensor` where bfloat16 is declared. */
export type CompiledInputs = Readonly<Record<string, TensorLike>>;

/** Options of one call that does not block. */
export interface AsyncCallOptions {
  /** Rejects the call with its reason, at once; results of what still runs are freed when it ends. Default: runs to its end. */
  signal?: AbortSignal;
}

/**
 * A computation that can be called on tensors of the declared shapes. The results belong to the caller. `Output` is TensorFlow.js's
 * tensor unless the body has bfloat16 results, which come as `RawTensor`.
 */
export interface Compiled<Output extends TensorLike = tfjs.Tensor> {
  (inputs: CompiledInputs): Record<string, Output>;
  /**
   * The same on another thread, so that the event loop goes on; any number of calls may run at once. In eager mode it computes before it returns.
   * Inputs may be disposed as soon as it returned. Results belong to no `tf.tidy`.
   */
  async(inputs: CompiledInputs, options?: AsyncCallOptions): Promise<Record<string, Output>>;
  /** `function`: one TensorFlow call; `eager`: operation by operation. */
  readonly mode: "function" | "eager";
  /** Frees the function when no call runs any more; using it afterwards is an error. */
  dispose(): void;
}

/** Options of {@link compile}. */
export interface CompileOptions {
  /** `eager` never compiles. Default `auto`: compile where the back end can, unless `DRAMASCOPE_COMPILE=off`. */
  mode?: "auto" | "eager";
}

type Specs = Readonly<Record<string, TensorSpec>>;

const describeSpec = ({ shape, dtype }: { shape: readonly number[]; dtype: string }): string => `${dtype}[${shape.join(",")}]`;

/** Compares the given tensors with the declared ones; TensorFlow itself would broadcast a wrong shape in silence. */
function checkInputs(name: string, specs: Specs, inputs: CompiledInputs): void {
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
    if (!Object.hasOwn(specs, key)) throw new TensorFlowError(`${name}: there is no input ${key}`, { code: "COMPILE_INPUT", hint: `Its inputs are ${Object.keys(specs).join(", ")}.` });
  }
}

/**
 * Turns a pure body into a callable: on native TensorFlow through koffi one call of a recorded function, elsewhere operation by
 * operation with the same results to rounding.
 *
 * @param tf     TensorFlow.js with its back end active.
 * @param name   Names the function in errors.
 * @param inputs Shape and type of each input; at least one.
 * @param body   Called once for a compiled function, at every call in eager mode.
 * @throws TensorFlowError `TENSOR_SHAPE` for an input of a shape that no tensor has, `COMPILE_BODY` when the body's operations do not fit together; calls throw `COMPILE_INPUT` for an input that is missing, unknown, disposed
 *         or of another shape or type, `COMPILE_DISPOSED` after `dispose`, and `COMPILE_RUN` when TensorFlow fails.
 */
export function compile<Output extends TensorLike = tfjs.Tensor>(
  tf: typeof tfjs, name: string, inputs: Readonly<Record<string, TensorSpec>>, body: Body, options: CompileOptions = {},
): Compiled<Output> {
  for (const [key, { shape }] of Object.entries(inputs)) elementCount(shape, `${name}: input ${key}`);
  const runner = createRunner(tf, name, inputs, body, options.mode !== "eager" && process.env["DRAMASCOPE_COMPILE"] !== "off" ? "function" : "eager");
  let isDisposed = false;
  const checkCall = (given: CompiledInputs): void => {
    if (isDisposed) throw new TensorFlowError(`${name} was disposed`, { code: "COMPILE_DISPOSED", hint: "Compile it again." });
    checkInputs(name, inputs, given);
  };
  const call = (given: CompiledInputs): Record<string, TensorLike> => {
    checkCall(given);
    return runner.run(given);
  };
  return Object.assign(call, {
    mode: runner.mode,
    async: async (given: CompiledInputs, { signal }: AsyncCallOptions = {}): Promise<Record<string, TensorLike>> => {
      checkCall(given);
      signal?.throwIfAborted();
      return runner.runAsync(given, signal);
    },
    dispose: (): void => {
      if (isDisposed) return;
      isDisposed = true;
      runner.dispose();
    },
  }) as Compiled<Output>;
}
