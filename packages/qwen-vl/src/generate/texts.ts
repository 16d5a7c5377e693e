import type { Core } from "../core.ts";
import type { ParameterView } from "../parameters.ts";
import type { GenerateOptions, Prompt, QwenTokenizer, QwenVl, Sample } from "../types.ts";
import { generateSamples } from "./loop.ts";
import type { SamplingOptions } from "./sampler.ts";

/** Ids that are never sampled: vision tokens, rows without a token, and the caller's. */
function forbidden(core: Core, tokenizer: QwenTokenizer, options: GenerateOptions): number[] {
  const ids = [...(options.forbiddenIds ?? [])];
  if (options.allowAll === true) return ids;
  const { imageTokenId, videoTokenId, visionStartTokenId, visionEndTokenId, text } = core.config;
  ids.push(imageTokenId, videoTokenId, visionStartTokenId, visionEndTokenId);
  const pad = tokenizer.idOf("<|vision_pad|>");
  if (pad !== undefined) ids.push(pad);
  for (let id = tokenizer.size; id < text.vocabSize; id++) ids.push(id);
  return [...new Set(ids)];
}

/** Text that each new token adds; nothing while the bytes end inside a character. */
function createStream(tokenizer: QwenTokenizer): (key: string, ids: readonly number[]) => string {
  const shown = new Map<string, number>();
  return (key, ids) => {
    const text = tokenizer.decode(ids, { skipSpecial: true });
    if (text.endsWith("\uFFFD")) return "";
    const from = shown.get(key) ?? 0;
    shown.set(key, text.length);
    return text.slice(from);
  };
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
  const { onToken } = options;
  const stream = createStream(tokenizer);
  const samples = await generateSamples(core, view, prompts, {
    maxNewTokens: options.maxNewTokens,
    samples: options.n ?? 1,
    sampling,
    seed: options.seed ?? 0,
    stopIds: new Set(options.stopIds ?? defaults.eosTokenIds),
    watchIds: options.watchIds ?? [],
    maxRows: options.maxRows ?? 64,
    signal: options.signal,
    onToken:
      onToken === undefined
        ? undefined
        : (prompt, sample, ids) => {
            onToken({ prompt, sample, id: ids.at(-1)!, text: stream(`${prompt}/${sample}`, ids) });
          },
  });
  return samples.map((group) => group.map((sample) => ({ ...sample, text: tokenizer.decode(sample.ids, { skipSpecial: true }) })));
}
