import { access, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { QwenVl } from "@dramascope/qwen-vl";
import { writeFileAtomically, type TrainingSample } from "@dramascope/schema";
import type { SampleEncoder } from "./encoder.ts";

/** Steps after which an early look pays. */
const EARLY_STEPS: readonly number[] = [0, 1, 5, 10, 50];
const COMPLETIONS = 2;

/** Options of {@link createPreview}. */
export interface PreviewOptions {
  /** Folder of the previews. */
  folder: string;
  model: QwenVl;
  encoder: SampleEncoder;
  /** The one sample that every preview shows. */
  sample: TrainingSample;
  /** Writes contact sheets of what the model sees of the sample; returns their paths. */
  sheets: (sample: TrainingSample) => Promise<string[]>;
  /** Steps between previews after the early ones. */
  everySteps: number;
  /** Tokens of a completion, at most. */
  maxTokens: number;
  seed: number;
  signal?: AbortSignal | undefined;
}

/**
 * Makes a function that, before the first step and after steps 1, 5, 10, 50 and every so many, writes two completions of one sample with
 * what its data asks for and the contact sheets of what the model saw to `step-000005.json`; it returns that path, or undefined when no preview is due. The same random numbers
 * are used each time, and none of the run's, so that previews differ by the policy alone and change nothing.
 */
export function createPreview(options: PreviewOptions): (step: number) => Promise<string | undefined> {
  const { folder, model, encoder, sample, everySteps, maxTokens, seed, signal } = options;
  let sheets: string[] | undefined;
  return async (step) => {
    if (!EARLY_STEPS.includes(step) && (step < Math.max(...EARLY_STEPS) || step % everySteps !== 0)) return undefined;
    const path = join(folder, `step-${String(step).padStart(6, "0")}.json`);
    if (await access(path).then(() => true, () => false)) return undefined;
    await mkdir(folder, { recursive: true });
    const [group] = await model.generate([await encoder.encode(sample)], { maxNewTokens: maxTokens, n: COMPLETIONS, seed, ...(signal && { signal }) });
    if (signal?.aborted) return undefined;
    sheets ??= await options.sheets(sample);
    const completions = group!.map(({ text, ids, finishReason }) => ({ text, length: ids.length, ended: finishReason === "stop" }));
    const wanted = sample.kind === "sft" ? { target: sample.target } : { quality: sample.quality, caption: sample.caption };
    await writeFileAtomically(path, `${JSON.stringify({ step, id: sample.sampleId, sheets, wanted, completions }, null, 2)}\n`);
    return path;
  };
}
