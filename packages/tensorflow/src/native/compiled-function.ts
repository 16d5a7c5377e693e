import { TensorFlowError } from "../errors.ts";
import type { Body, TensorSpec } from "../ops.ts";
import { startAsyncCall } from "./async-call.ts";
import type { Binding, TensorMetadata } from "./binding.ts";
import { GraphRecorder, type GraphValue } from "./graph.ts";

/** A body as one function of TensorFlow. */
export interface CompiledFunction {
  /** Runs it; ids in the order of its inputs, results in the order of the body's. */
  run: (ids: readonly number[]) => Map<string, TensorMetadata>;
  /** Runs it on another thread. Rejects with the signal's reason as soon as that is aborted; what still runs then ends by itself and its results are freed. */
  runAsync: (ids: readonly number[], signal: AbortSignal | undefined) => Promise<Map<string, TensorMetadata>>;
  /** Frees the function, at once or when the last call that still runs has ended. */
  dispose: () => void;
}

/** Functions of one context need names of their own. */
let functionCount = 0;

/** TensorFlow wants `[A-Z][A-Za-z0-9_]*`. */
function uniqueName(name: string): string {
  const plain = name.replace(/[^A-Za-z0-9_]/gu, "_").replace(/^[^A-Za-z]/u, "F");
  return `${plain.slice(0, 1).toUpperCase()}${plain.slice(1)}_${functionCount++}`;
}

/** Records a body over inputs of fixed shapes, in the order of the entries, and registers it. */
export function compileFunction(binding: Binding, name: string, inputs: ReadonlyMap<string, TensorSpec>, body: Body): CompiledFunction {
  const { c, status, check, context } = binding.raw;
  const functionName = uniqueName(name);
  const recorder = new GraphRecorder(binding);
  let outputKeys: string[];
  let made: bigint;
  try {
    const placeholders = Array.from(inputs, ([key, spec]): [string, GraphValue] => [key, recorder.placeholder(`input/${key}`, spec)]);
    const outputs = recorder.record(body, Object.fromEntries(placeholders));
    outputKeys = Object.keys(outputs);
    made = recorder.finish(functionName, placeholders.map(([, value]) => value), Object.values(outputs));
  } catch (error) {
    if (TensorFlowError.isInstance(error)) throw error;
    throw new TensorFlowError(`${name}: ${(error as Error).message}`, { code: "COMPILE_BODY", cause: error, hint: "The message names the operation and its shapes." });
  } finally {
    recorder.dispose();
  }

  const failed = (error: unknown): Error =>
    TensorFlowError.isInstance(error) ? error : new TensorFlowError(`${name}: ${(error as Error).message}`, { code: "COMPILE_RUN", cause: error, hint: "The message names the node inside the function." });
  const adopt = (handles: BigUint64Array): Map<string, TensorMetadata> => new Map(outputKeys.map((key, i) => [key, binding.adopt(handles[i]!)]));

  let op = 0n;
  const results = new BigUint64Array(Math.max(1, outputKeys.length));
  const count = new Int32Array(1);
  const run = (ids: readonly number[]): Map<string, TensorMetadata> => {
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
      throw failed(error);
    }
    return adopt(results);
  };

  let running = 0;
  let isDisposed = false;
  const free = (): void => {
    if (!isDisposed || running > 0) return;
    if (op !== 0n) c.TFE_DeleteOp(op);
    c.TFE_ContextRemoveFunction(context, functionName, status);
    c.TF_DeleteFunction(made);
  };

  const runAsync = (ids: readonly number[], signal: AbortSignal | undefined): Promise<Map<string, TensorMetadata>> =>
    new Promise((resolve, reject) => {
      const call = startAsyncCall(binding, functionName, ids, outputKeys.length);
      running++;
      const abort = (): void => {
        call.cancel();
        reject(signal!.reason as Error);
      };
      signal?.addEventListener("abort", abort, { once: true });
      const end = (): void => {
        signal?.removeEventListener("abort", abort);
        running--;
        free();
      };
      call.handles.then(
        (handles) => {
          end();
          if (signal?.aborted) for (const handle of handles) c.TFE_DeleteTensorHandle(handle);
          else resolve(adopt(handles));
        },
        (error: unknown) => {
          end();
          reject(failed(error));
        },
      );
    });

  const dispose = (): void => {
    isDisposed = true;
    free();
  };
  return { run, runAsync, dispose };
}
