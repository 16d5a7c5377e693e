import { appendFile, mkdir, readFile, truncate, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { lengthUpTo, scalarsRecord, versionRecord } from "./event-records.ts";

/** A TensorBoard event file of one run. It is a view of `metrics.jsonl`, which counts where the two differ. */
export class EventFile {
  readonly #path: string;
  readonly #now: () => number;

  private constructor(path: string, now: () => number) {
    this.#path = path;
    this.#now = now;
  }

  /** Opens or makes the file, cut back to the step that a run goes on from. `now` gives seconds since 1970. */
  static async open(path: string, step: number, now: () => number): Promise<EventFile> {
    await mkdir(dirname(path), { recursive: true });
    const known = await readFile(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return Buffer.alloc(0);
      throw error;
    });
    const kept = lengthUpTo(known, step);
    if (kept === 0) await writeFile(path, versionRecord(now()));
    else if (kept < known.length) await truncate(path, kept);
    return new EventFile(path, now);
  }

  /** Adds a step's scalars; null has no place in a chart and is left out. */
  async add(step: number, metrics: Readonly<Record<string, number | null>>): Promise<void> {
    const scalars = new Map(Object.entries(metrics).filter((entry): entry is [string, number] => entry[1] !== null));
    await appendFile(this.#path, scalarsRecord({ wallTime: this.#now(), step, scalars }));
  }
}
