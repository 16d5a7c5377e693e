import type { Binding } from "./binding.ts";

/** A call that runs on a thread of its own. */
export interface AsyncCall {
  /** Handles of the results, for the receiver to own. */
  handles: Promise<BigUint64Array>;
  /** Asks TensorFlow to stop: a function that has not started, or a loop, ends with an error; other work ends by itself. */
  cancel(): void;
}

/** Starts an operation or function of the context with status, outputs and cancellation of its own, so that any number may run at once. */
export function startAsyncCall({ raw: { c, context }, handleOf }: Binding, name: string, ids: readonly number[], outputs: number): AsyncCall {
  const status = c.TF_NewStatus() as bigint;
  const check = (): void => {
    if (c.TF_GetCode(status) !== 0) throw new Error(String(c.TF_Message(status)));
  };
  const manager = c.TFE_NewCancellationManager() as bigint;
  const op = c.TFE_NewOp(context, name, status) as bigint | null;
  let hasEnded = false;
  const end = (): void => {
    hasEnded = true;
    if (op !== null) c.TFE_DeleteOp(op);
    c.TFE_DeleteCancellationManager(manager);
    c.TF_DeleteStatus(status);
  };
  try {
    check();
    for (const id of ids) c.TFE_OpAddInput(op, handleOf(id), status);
    c.TFE_OpSetCancellationManager(op, manager, status);
    check();
  } catch (error) {
    end();
    throw error;
  }
  const results = new BigUint64Array(Math.max(1, outputs));
  const count = Int32Array.of(outputs);
  const run = async (): Promise<BigUint64Array> => {
    try {
      await new Promise<void>((resolve, reject) => {
        c.TFE_Execute.async(op, results, count, status, (error: Error | null) => {
          if (error) reject(error);
          else resolve();
        });
      });
      check();
      return results.subarray(0, count[0]);
    } finally {
      end();
    }
  };
  return {
    handles: run(),
    cancel: () => {
      if (!hasEnded) c.TFE_CancellationManagerStartCancel(manager);
    },
  };
}
