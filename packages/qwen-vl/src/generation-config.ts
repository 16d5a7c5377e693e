import { QwenVlError } from "./errors.ts";
import { samplingFault } from "./generate/sampler.ts";
import type { SamplingOptions } from "./generate/sampler.ts";
import type { QwenVlConfig } from "./config-types.ts";
import type { QwenVl } from "./model-types.ts";

/**
 * Reads a checkpoint's generation_config.json; without one, stop ids are those of config.json.
 *
 * @throws QwenVlError `CONFIG_FIELD` naming a field that no sampling could follow, or a stop id outside the vocabulary.
 */
export function parseGenerationConfig(json: unknown, { eosTokenIds, text }: Pick<QwenVlConfig, "eosTokenIds" | "text">): QwenVl["generationConfig"] {
  const refuse = (what: string): never => {
    throw new QwenVlError(`generation_config.json: ${what}`, { code: "CONFIG_FIELD", hint: "Use the generation_config.json that came with the checkpoint, or remove it." });
  };
  if (json === undefined) return { eosTokenIds: [...eosTokenIds] };
  if (typeof json !== "object" || json === null || Array.isArray(json)) return refuse("it must hold a JSON object");
  const fields = new Map(Object.entries(json as Record<string, unknown>));
  const optional = (to: keyof SamplingOptions, from: string): Record<string, number> => {
    const value = fields.get(from) ?? undefined;
    if (value === undefined) return {};
    if (typeof value !== "number") return refuse(`${from} is ${JSON.stringify(value)}, expected a number`);
    const fault = samplingFault({ [to]: value });
    return fault === undefined ? { [to]: value } : refuse(fault.replace(to, from));
  };
  const sampling = { ...optional("temperature", "temperature"), ...optional("topP", "top_p"), ...optional("topK", "top_k"), ...optional("repetitionPenalty", "repetition_penalty") };
  return { ...sampling, eosTokenIds: stopIds(fields.get("eos_token_id"), text.vocabSize, refuse) ?? [...eosTokenIds] };
}

/** Ids of a field that holds none, one or a list of them; undefined when there is no such field. */
export function stopIds(value: unknown, vocabSize: number, refuse: (what: string) => never): number[] | undefined {
  if (value === undefined || value === null) return undefined;
  const ids: unknown[] = Array.isArray(value) ? value : [value];
  const isId = (id: unknown): id is number => Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < vocabSize;
  return ids.every(isId) ? ids : refuse(`eos_token_id is ${JSON.stringify(value)}, expected token ids below the vocab_size ${vocabSize}`);
}
