import { createRequire } from "node:module";
import type { LoadedTensorFlow } from "@dramascope/tensorflow";

/** Runs an action on wasm in a process that has another back end. */
export async function onWasm<T>(tf: LoadedTensorFlow["tf"], action: () => T): Promise<T> {
  // The package that finds back ends is the one that depends on this one.
  createRequire(createRequire(import.meta.url).resolve("@dramascope/tensorflow/package.json"))("@tensorflow/tfjs-backend-wasm");
  const before = tf.getBackend();
  if (!(await tf.setBackend("wasm"))) throw new Error("wasm does not start");
  try {
    return action();
  } finally {
    await tf.setBackend(before);
  }
}
