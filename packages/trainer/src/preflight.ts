import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { OnProgress, TrainingSample } from "@dramascope/schema";
import type { SampleSize } from "./encoder.ts";
import { TrainerError } from "./errors.ts";
import type { RunDirectory } from "./run-directory.ts";

/** What the look at one sample before a run found; a line of `preflight.jsonl`. */
export interface PreflightRow {
  /** The sample's id. */
  id: string;
  /** Tokens of the prompt; null where they could not be counted. */
  tokens: number | null;
  /** Those of them that stand for frames. */
  visualTokens: number | null;
  /** Tokens of the answer; of GRPO those it may have. Null for a sample that was not measured for a fault of its own. */
  answerTokens: number | null;
  /** Quarantined samples are left out of the run. */
  status: "ok" | "quarantined";
  /** Why a sample is left out; null where it is not. */
  reason: string | null;
}

/** Options of {@link preflight}. */
export interface PreflightOptions {
  directory: RunDirectory;
  /** Loads a sample's frames and counts the tokens of its prompt. Without it lengths and frames are not looked at. */
  measure: ((sample: TrainingSample) => Promise<SampleSize>) | undefined;
  /** Tokens that a sample's answer may have. */
  answerTokens: (sample: TrainingSample) => number;
  /** Tokens of prompt and answer together, at most. */
  maxLength: number;
  /** What a bad sample does. */
  onBadRecord: "quarantine" | "stop";
  /** Whether an earlier look at the same samples in the same folder counts. */
  isResumed: boolean;
  signal: AbortSignal | undefined;
  onProgress: OnProgress | undefined;
  onWarning: ((text: string) => void) | undefined;
}

/** Samples whose frames are read together. */
const AT_ONCE = 8;
const FILE = "preflight.jsonl";

const isBlank = (text: string): boolean => text.trim() === "";

/** What is wrong with a sample's own fields; undefined for nothing. */
function faultOf(sample: TrainingSample): string | undefined {
  for (const { content } of sample.messages) {
    for (const part of typeof content === "string" ? [] : content) if (part.type === "video" && sample.videos[part.video] === undefined) return `its message names video ${part.video}, it has ${sample.videos.length}`;
  }
  if (sample.kind === "sft") return isBlank(sample.target) ? "its target is empty" : undefined;
  if (!(Number.isInteger(sample.quality) && sample.quality >= 1 && sample.quality <= 5)) return `its quality is ${String(sample.quality)}, not 1 to 5`;
  return isBlank(sample.caption) ? "its reference caption is empty" : undefined;
}

async function look(sample: TrainingSample, isRepeated: boolean, { measure, answerTokens, maxLength }: PreflightOptions): Promise<PreflightRow> {
  const id = sample.sampleId;
  const row = (answer: number | null, size: SampleSize | undefined, reason: string | null): PreflightRow =>
    ({ id, tokens: size?.tokens ?? null, visualTokens: size?.visualTokens ?? null, answerTokens: answer, status: reason === null ? "ok" : "quarantined", reason });
  const fault = isRepeated ? "an earlier sample has the same id" : faultOf(sample);
  if (fault !== undefined) return row(null, undefined, fault);
  const answer = answerTokens(sample);
  if (!measure) return row(answer, undefined, null);
  let size: SampleSize;
  try {
    size = await measure(sample);
  } catch (error) {
    return row(answer, undefined, (error as Error).message);
  }
  return row(answer, size, size.tokens + answer > maxLength ? `its prompt of ${size.tokens} tokens and an answer of ${answer} are longer than ${maxLength} together` : null);
}

/** Rows of an earlier look at the same samples; undefined where there was none. */
async function earlierRows(directory: RunDirectory, samples: readonly TrainingSample[]): Promise<PreflightRow[] | undefined> {
  const text = await readFile(join(directory.path, FILE), "utf8").catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  });
  const rows = text?.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as PreflightRow);
  return rows?.length === samples.length && rows.every(({ id }, i) => id === samples[i]!.sampleId) ? rows : undefined;
}

/** Samples that passed, and their lengths. */
export interface CheckedSamples<S> {
  samples: S[];
  /** Tokens of prompt and answer together; of the answer alone where prompts are not measured. */
  lengths: number[];
}

/**
 * Looks at every sample before a run: its fields, that its frames are there and decode, and that prompt and answer fit. Writes `preflight.jsonl`, and the samples that
 * are left out, with reasons, to `quarantine.jsonl`. Nothing is ever cut to fit.
 *
 * @returns The samples to train on, in their order.
 * @throws TrainerError `BAD_RECORD` under `stop`, `NO_SAMPLES` when none is left; the signal's reason.
 */
export async function preflight<S extends TrainingSample>(samples: readonly S[], options: PreflightOptions): Promise<CheckedSamples<S>> {
  const { directory, isResumed, onBadRecord, signal, onProgress, onWarning } = options;
  let rows = isResumed ? await earlierRows(directory, samples) : undefined;
  if (!rows) {
    rows = [];
    const seen = new Set<string>();
    for (let start = 0; start < samples.length; start += AT_ONCE) {
      signal?.throwIfAborted();
      const group = samples.slice(start, start + AT_ONCE).map((sample) => {
        const isRepeated = seen.has(sample.sampleId);
        seen.add(sample.sampleId);
        return look(sample, isRepeated, options);
      });
      rows.push(...(await Promise.all(group)));
      onProgress?.({ phase: "preflight", done: rows.length, total: samples.length });
    }
    const left = rows.flatMap(({ id, status, reason }, i) => (status === "ok" ? [] : [{ id, reason, record: samples[i] }]));
    if (left.length > 0) await directory.write("quarantine.jsonl", left);
    await directory.write(FILE, rows);
  }
  const bad = rows.filter(({ status }) => status !== "ok");
  const where = join(directory.path, "quarantine.jsonl");
  if (bad.length > 0 && onBadRecord === "stop") throw new TrainerError(`sample ${bad[0]!.id}: ${bad[0]!.reason!}; ${bad.length} of ${rows.length} samples cannot be used`, { code: "BAD_RECORD", hint: `They are listed in ${where}. Mend them, or leave them out with onBadRecord quarantine.` });
  if (bad.length === rows.length) throw new TrainerError(`none of ${rows.length} samples can be used; the first: ${bad[0]!.reason!}`, { code: "NO_SAMPLES", hint: `All are listed in ${where}.` });
  if (bad.length > 0) onWarning?.(`${bad.length} of ${rows.length} samples are left out, listed in ${where}; the first is ${bad[0]!.id}: ${bad[0]!.reason!}`);
  const good = rows.flatMap(({ status, tokens, answerTokens }, i) => (status === "ok" ? [{ sample: samples[i]!, length: (tokens ?? 0) + (answerTokens ?? 0) }] : []));
  return { samples: good.map(({ sample }) => sample), lengths: good.map(({ length }) => length) };
}
