import type { LoadedTensorFlow } from "@dramascope/tensorflow";
import { bindingOf } from "../src/native/backend.ts";
import type { Binding } from "../src/native/binding.ts";

type Skip = (note?: string) => void;

function skipWithReasons({ diagnostics }: LoadedTensorFlow, skip: Skip, what: string): void {
  const reasons = diagnostics.candidates.map(({ where, outcome, reason }) => `${where}: ${reason ?? outcome}`).join("; ");
  skip(`no TensorFlow ${what} (${reasons})`);
}

/** Skips a test where no TensorFlow is reached through koffi, and says why. */
export function needsKoffi(loaded: LoadedTensorFlow, skip: Skip): void {
  if (loaded.binding !== "koffi") skipWithReasons(loaded, skip, "through koffi");
}

/** Skips a test where there is wasm only, and says why. */
export function needsNative(loaded: LoadedTensorFlow, skip: Skip): void {
  if (loaded.backend === "wasm") skipWithReasons(loaded, skip, "but wasm");
}

/** The binding behind the current back end. */
export function bindingFor(tf: LoadedTensorFlow["tf"]): Binding {
  const binding = bindingOf(tf.backend());
  if (!binding) throw new Error("no binding behind this back end");
  return binding;
}

/** Tensors that the native side holds: what only disposal brings down. */
export function nativeTensors(tf: LoadedTensorFlow["tf"]): number {
  return bindingFor(tf).getNumOfTensors();
}
