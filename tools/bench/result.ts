import { cpus, totalmem } from "node:os";

/** What one benchmark found. */
export interface BenchResult {
  /** Name of the benchmark. */
  name: string;
  /** Ours against the peer, read as the goal says. */
  ratio: number;
  /** The bar in words, for example "at least 10 times faster than the peer". */
  goal: string;
  met: boolean;
  /** Our figure, in `unit`: the least of the runs. */
  ours: number;
  /** The peer's figure; null when the peer is missing, which `peerName` then says. */
  peer: number | null;
  unit: string;
  /** Rounds of each side, taken in turn. */
  runs: number;
  peerName: string;
  /** Medians, memory and other figures. */
  extra: Record<string, unknown>;
}

/** Options that every benchmark gets. */
export interface BenchOptions {
  /** Fewer rounds on less work. */
  isQuick: boolean;
  /** Lets a benchmark make a Python environment under `.cache/peers` with pip. */
  withPython: boolean;
  /** Adds figures of a large catalogue, which take minutes, where a benchmark has them. */
  isScaled: boolean;
  /** Rows of the benchmarks that run over a table; undefined takes the benchmark's own default. */
  rows: number | undefined;
  /** One line for people. */
  say: (text: string) => void;
}

/** One benchmark. */
export type Bench = (options: BenchOptions) => Promise<BenchResult>;

/** The machine in words. */
export function machine(): string {
  const cores = cpus();
  return `${cores.length} × ${cores[0]?.model.trim() ?? "unknown processor"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
}

/** Middle value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
