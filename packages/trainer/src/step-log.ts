import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { EventFile } from "./event-file.ts";
import { newHealthSigns } from "./health.ts";
import type { MetricLine } from "./metrics.ts";
import type { RunDirectory } from "./run-directory.ts";

/** Where TensorBoard looks, below a run's folder. */
const EVENTS = join("tensorboard", "events.out.tfevents.0.dramascope");

/** Metric lines as they were written; a run without any has none. */
async function readLines(path: string): Promise<MetricLine[]> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  });
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as MetricLine);
}

/** What a run says of its steps: `metrics.jsonl`, a TensorBoard event file, and signs of trouble when they first show. */
export class StepLog {
  readonly #directory: RunDirectory;
  readonly #events: EventFile;
  readonly #lines: MetricLine[];
  readonly #onSign: (text: string) => void;

  private constructor(directory: RunDirectory, events: EventFile, lines: MetricLine[], onSign: (text: string) => void) {
    this.#directory = directory;
    this.#events = events;
    this.#lines = lines;
    this.#onSign = onSign;
  }

  /** Goes on after `step`, to which `metrics.jsonl` has been cut back. `now` gives seconds since 1970. */
  static async open(directory: RunDirectory, options: { step: number; now: () => number; onSign: (text: string) => void }): Promise<StepLog> {
    const events = await EventFile.open(join(directory.path, EVENTS), options.step, options.now);
    return new StepLog(directory, events, await readLines(join(directory.path, "metrics.jsonl")), options.onSign);
  }

  /** Writes a step's line and tells what it shows for the first time. */
  async add(line: MetricLine): Promise<void> {
    await this.#directory.append("metrics.jsonl", [line]);
    const { step, ...metrics } = line;
    await this.#events.add(step, metrics);
    this.#lines.push(line);
    for (const { code, text } of newHealthSigns(this.#lines)) this.#onSign(`step ${step}, ${code}: ${text}`);
  }
}
