import { someIds, startOurs, startPeer, type Side } from "./model-side.ts";

/** Memory of one prefill in a process of its own, MiB. */
interface PrefillMemory {
  length: number;
  /** Resident before the prefill: program, libraries, weights. */
  startMiB: number;
  /** Added at most by the prefill. */
  addedMiB: number;
}

/** What each side adds by length; `growth` is what the last doubling adds against the one before: 2 when memory is linear in the length, 4 when it is quadratic. */
export interface MemoryFigures {
  ours: PrefillMemory[];
  peer: PrefillMemory[] | null;
  growth: number | null;
}

async function measure(open: () => Promise<Side>, lengths: readonly number[]): Promise<PrefillMemory[]> {
  const found: PrefillMemory[] = [];
  for (const length of lengths) {
    const side = await open();
    const { startMiB, peakMiB } = await side.ask({ task: "prefill", ids: someIds(length) });
    side.end();
    found.push({ length, startMiB: Math.round(startMiB), addedMiB: Math.round(peakMiB - startMiB) });
  }
  return found;
}

/** Peak memory of a prefill by length, one thread. */
export async function prefillMemory(folder: string, python: string | null, lengths: readonly number[]): Promise<MemoryFigures> {
  const ours = await measure(() => startOurs(folder, 1, "float32"), lengths);
  const [first, second, third] = ours.map(({ addedMiB }) => addedMiB);
  return {
    ours,
    peer: python === null ? null : await measure(() => startPeer(python, folder, 1, "float32"), lengths),
    growth: third === undefined ? null : (third - second!) / (second! - first!),
  };
}
