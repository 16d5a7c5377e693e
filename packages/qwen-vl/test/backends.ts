import { loadTensorFlow, type LoadedTensorFlow } from "@dramascope/tensorflow";

/** How bodies run: as compiled functions of native TensorFlow, operation by operation on it, or on wasm. */
export type Way = "compiled" | "eager" | "wasm";

const NAMES: Readonly<Record<Way, string>> = { compiled: "native TensorFlow, compiled", eager: "native TensorFlow, operation by operation", wasm: "wasm" };

/** A way to run bodies in this process, or why there is none here. */
export type Started = { name: string; loaded: LoadedTensorFlow } | { name: string; missing: string };

/** Chooses the way for this whole process. */
export async function startWay(way: Way): Promise<Started> {
  const name = NAMES[way];
  if (way === "compiled" && process.env["DRAMASCOPE_COMPILE"] === "off") return { name, missing: "DRAMASCOPE_COMPILE=off" };
  if (way === "eager") process.env["DRAMASCOPE_COMPILE"] = "off";
  const loaded = await loadTensorFlow(way === "wasm" ? { prefer: "wasm" } : { threads: 1 });
  if (way === "wasm" || loaded.binding === "koffi" || (way === "eager" && loaded.binding !== null)) return { name, loaded };
  const reasons = loaded.diagnostics.candidates.map(({ where, outcome, reason }) => `${where}: ${reason ?? outcome}`);
  return { name, missing: `no TensorFlow through koffi (${reasons.join("; ")})` };
}
