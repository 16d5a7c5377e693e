import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { EventFile } from "./event-file.ts";
import { newHealthSigns } from "./health.ts";
import { mean, type MetricLine } from "./metrics.ts";
import type { RunDirectory } from "./run-directory.ts";
import { comparePlan, type RunPlan } from "./run-plan.ts";

/** Where TensorBoard looks, below a run's folder. */
const EVENTS = join("tensorboard", "events.out.tfevents.0.dramascope");

/** Steps after which a plan is held against what was measured. */
const COMPARED_STEPS = 3;
/** Reward calls that quantiles look back on. */
const REWARD_CALLS = 100;

const numbers = (lines: readonly MetricLine[], name: string): number[] => lines.map((line) => line[name]).filter((value): value is number => typeof value === "number");

/** Value below which a share of the values lies. */
function quantile(values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.ceil(share * values.length) - 1]!;
}

/** Quantiles of the time that rewards took over the last generations; nothing for a line without rewards. */
function rewardLatency(lines: readonly MetricLine[], line: MetricLine): Record<string, number> {
  if (typeof line["dramascope/time/reward"] !== "number") return {};
  const seconds = numbers([...lines, line], "dramascope/time/reward").slice(-REWARD_CALLS);
  return { "dramascope/reward_latency/p50": quantile(seconds, 0.5), "dramascope/reward_latency/p95": quantile(seconds, 0.95) };
}

/** Metric lines as they were written; a run without any has none. */
async function readLines(path: string): Promise<MetricLine[]> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  });
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as MetricLine);
}

/** Options of {@link StepLog}. */
export interface StepLogOptions {
  /** Step that the run goes on after; `metrics.jsonl` has been cut back to it. */
  step: number;
  /** Seconds since 1970. */
  now: () => number;
  /** Receives signs of trouble, and how a plan fits. */
  onSign: (text: string) => void;
  /** What was planned; compared after three steps. */
  plan: RunPlan | undefined;
}

/** What a run says of its steps: `metrics.jsonl`, a TensorBoard event file, and signs of trouble when they first show. */
export class StepLog {
  readonly #directory: RunDirectory;
  readonly #events: EventFile;
  readonly #lines: MetricLine[];
  readonly #options: StepLogOptions;

  private constructor(directory: RunDirectory, events: EventFile, lines: MetricLine[], options: StepLogOptions) {
    this.#directory = directory;
    this.#events = events;
    this.#lines = lines;
    this.#options = options;
  }

  /** Opens the logs of a run. */
  static async open(directory: RunDirectory, options: StepLogOptions): Promise<StepLog> {
    const events = await EventFile.open(join(directory.path, EVENTS), options.step, options.now);
    return new StepLog(directory, events, await readLines(join(directory.path, "metrics.jsonl")), options);
  }

  /** Writes a step's line, and tells what it shows for the first time. */
  async add(measured: MetricLine): Promise<void> {
    const line: MetricLine = { ...measured, ...rewardLatency(this.#lines, measured) };
    await this.#directory.append("metrics.jsonl", [line]);
    const { step, ...metrics } = line;
    await this.#events.add(step, metrics);
    this.#lines.push(line);
    const { onSign, plan } = this.#options;
    for (const { code, text } of newHealthSigns(this.#lines)) onSign(`step ${step}, ${code}: ${text}`);
    // The first step compiles, so it is no usual one.
    if (plan && this.#lines.length === COMPARED_STEPS) onSign(comparePlan(plan, mean(numbers(this.#lines, "step_time").slice(1))!, Math.max(...numbers(this.#lines, "dramascope/memory/peak"))));
  }
}
