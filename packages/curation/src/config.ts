import { z } from "zod";
import { CurationError } from "./errors.ts";

const positive = z.number().positive();
const count = z.int().min(1);

/** Settings of a curation run. */
const curationConfig = z.strictObject({
  version: z.literal(1).default(1),
  teacher: z.strictObject({
    /** Without `/chat/completions`. */
    baseURL: z.url(),
    model: z.string().min(1),
    /** Name of the environment variable that holds the key. */
    apiKeyEnv: z.string().optional(),
    /** Whether the provider takes `metadata`. */
    sendsMetadata: z.boolean().default(false),
    /** Calls at once. */
    inFlight: count.default(16),
    callTimeoutMs: positive.default(900_000),
    maxAttempts: count.default(6),
    backoffMs: positive.default(1000),
    maxTokens: count.default(2048),
    /** Per million tokens. */
    prices: z.strictObject({ input: z.number().min(0), output: z.number().min(0) }).default({ input: 0, output: 0 }),
  }),
  split: z.strictObject({ seed: z.string().default("split-1"), evalPerClass: z.int().min(0).default(200), sftSize: z.int().min(0).default(10_000) }).prefault({}),
  rounds: z.strictObject({ max: count.default(8), temperature: z.array(z.number().min(0)).min(1).default([0.7, 0.8, 0.9, 1]), topP: positive.max(1).default(0.95) }).prefault({}),
  comments: z.strictObject({ max: count.default(20) }).prefault({}),
  budget: z.strictObject({ maxCost: positive.optional() }).prefault({}),
  /** Files of own prompts; built-in ones otherwise. */
  prompts: z.partialRecord(z.enum(["caption", "cot", "cot_filter", "comment_filter", "grpo"]), z.string()).default({}),
  export: z
    .strictObject({
      /** Form of SFT answers: the JSON of the cot prompt, or the four tags of the grpo prompt. */
      sftFormat: z.enum(["json", "tags"]).default("json"),
      /** Comments in an answer in tags. */
      answerComments: count.default(10),
    })
    .prefault({}),
});
/** Settings of a curation run, defaults filled in. */
export type CurationConfig = z.output<typeof curationConfig>;
/** Settings of a curation run as given. */
export type CurationConfigInput = z.input<typeof curationConfig>;

/** Checks settings. */
export function parseCurationConfig(value: unknown): CurationConfig {
  const result = curationConfig.safeParse(value);
  if (result.success) return result.data;
  const texts = result.error.issues.map((issue) => `${issue.path.map(String).join(".") || "settings"}: ${issue.message}`);
  throw new CurationError(texts.join("; "), { code: "CONFIG_INVALID", hint: "Correct the named settings." });
}
