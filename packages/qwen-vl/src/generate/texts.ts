import type { Core } from "../core.ts";
import type { ParameterView } from "../parameters.ts";
import type { GenerateOptions, Sample } from "../generate-types.ts";
import type { QwenTokenizer, QwenVl } from "../model-types.ts";
import type { Prompt } from "../prompt-types.ts";
import { generateSamples } from "./loop.ts";
import type { SampledIds } from "./loop.ts";
import type { SamplingOptions } from "./sampler.ts";
import { createTextStream } from "./text-stream.ts";

/** Ids that are never sampled: vision tokens, rows without a token, and the caller's. */
function forbidden(core: Core, tokenizer: QwenTokenizer, options: GenerateOptions): number[] {
  const ids = [...(options.forbiddenIds ?? [])];
  if (options.allowAll === true) return ids;
  const { imageTokenId, videoTokenId, visionStartTokenId, visionEndTokenId, text } = core.config;
  ids.push(imageTokenId, videoTokenId, visionStartTokenId, visionEndTokenId);
  const pad = tokenizer.idOf("<|vision_pad|>");
  if (pad !== undefined) ids.push(pad);
  if (tokenizer.size > 0) for (let id = tokenizer.size; id < text.vocabSize; id++) ids.push(id);
  return [...new Set(ids)];
}

/** A sample with its text; of a checkpoint without a tokenizer there is none, and asking for it says so. */
function withText(tokenizer: QwenTokenizer, sample: SampledIds): Sample {
  if (tokenizer.size > 0) return { ...sample, text: tokenizer.decode(sample.ids, { skipSpecial: true }) };
  return Object.defineProperty(sample as Sample, "text", { get: () => tokenizer.decode(sample.ids) });
}

/** Answers for prompts, with defaults filled in and decoded. */
export async function generateTexts(
  core: Core, view: ParameterView, tokenizer: QwenTokenizer, defaults: QwenVl["generationConfig"], prompts: readonly Prompt[], options: GenerateOptions,
): Promise<Sample[][]> {
  const fallback = options.useGenerationConfig === true ? defaults : undefined;
  const sampling: SamplingOptions = {
    temperature: options.temperature ?? fallback?.temperature ?? 1,
    topP: options.topP ?? fallback?.topP ?? 1,
    topK: options.topK ?? fallback?.topK ?? 0,
    repetitionPenalty: options.repetitionPenalty ?? fallback?.repetitionPenalty ?? 1,
    forbiddenIds: forbidden(core, tokenizer, options),
  };
  const { onToken, maxNewTokens } = options;
  if (onToken !== undefined) tokenizer.decode([]); // without a tokenizer there is nothing to tell
  const stopIds = new Set(options.stopIds ?? defaults.eosTokenIds);
  const streams = new Map<string, ReturnType<typeof createTextStream>>();
  const added = (key: string, id: number, isLast: boolean): string => {
    const stream = streams.get(key) ?? createTextStream(tokenizer);
    streams.set(key, stream);
    return stream(id, isLast);
  };
  const samples = await generateSamples(core, view, prompts, {
    maxNewTokens,
    samples: options.n ?? 1,
    sampling,
    seed: options.seed ?? 0,
    stopIds,
    watchIds: options.watchIds ?? [],
    maxRows: options.maxRows ?? 64,
    signal: options.signal,
    onToken:
      onToken === undefined
        ? undefined
        : (prompt, sample, ids) => {
            const id = ids.at(-1)!;
            onToken({ prompt, sample, id, text: added(`${prompt}/${sample}`, id, stopIds.has(id) || ids.length === maxNewTokens) });
          },
  });
  return samples.map((group) => group.map((sample) => withText(tokenizer, sample)));
}
