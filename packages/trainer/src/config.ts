import { nearestName, settingNames } from "@dramascope/schema";
import { z } from "zod";
import { TrainerError } from "./errors.ts";

const positive = z.number().positive();
const count = z.int().min(1);

/** Shape of a fresh adapter, and the share of adapter inputs that training drops. */
const loraSettings = (dropout: number) =>
  z
    .strictObject({
      /** Rank (arXiv:2106.09685). */
      r: count.default(8),
      /** The adapter's product is scaled by alpha / r. */
      alpha: positive.default(32),
      /** Scale alpha / √r instead (arXiv:2312.03732). */
      rslora: z.boolean().default(false),
      /** Share of the adapter's inputs that a gradient pass drops, below 1. */
      dropout: z.number().min(0).lt(1).default(dropout),
    })
    .prefault({});

const common = {
  /** Folder of the run; the same folder again resumes it. */
  runDir: z.string().min(1),
  /** Seed of order, start values and sampling. */
  seed: z.int().min(0).default(0),
  /** Adapter folder to go on from, with its rank and alpha; without one a fresh adapter is made. Dropout is the run's in any case. */
  adapter: z.string().optional(),
  /** Rate at the schedule's top. */
  learningRate: positive,
  /** Course of the rate over the run's optimiser steps, as in transformers. */
  schedule: z.enum(["linear", "cosine", "constant", "constant_with_warmup", "cosine_with_min_lr"]),
  /** Steps over which the rate rises from 0, which is the first step's; `constant` has none. */
  warmupSteps: z.int().min(0).default(0),
  /** End of `cosine_with_min_lr` as a share of the rate. */
  minLrRate: z.number().min(0).max(1).default(0),
  /** Decay of AdamW's first moments, below 1 (arXiv:1711.05101). */
  beta1: z.number().min(0).lt(1).default(0.9),
  /** Decay of its second moments, below 1. */
  beta2: z.number().min(0).lt(1).default(0.999),
  /** Added to the root of the second moments. */
  adamEps: positive.default(1e-8),
  /** Share of each value taken off in a step, times the rate; decoupled. */
  weightDecay: z.number().min(0).default(0),
  /** Global norm that gradients are scaled down to before a step; 0 is off. */
  maxGradNorm: z.number().min(0).default(1),
  /** Steps between checkpoints. */
  saveSteps: count.default(10),
  /** Newest checkpoints that stay, beside the best: of GRPO that with the highest mean reward since the one before, of SFT that with the lowest loss on `evalSamples`. */
  keepCheckpoints: count.default(3),
  /** Tokens of a prompt and its answer together, at most; longer samples are left out, never cut. Default the model's positions. */
  maxLength: count.optional(),
  /** What a sample that cannot be used does: it is left out, or the run does not start. */
  onBadRecord: z.enum(["quarantine", "stop"]).default("quarantine"),
  /** What NaN or infinity in a step does: it ends the run, or the step is left out. */
  nanPolicy: z.enum(["stop", "skip"]).default("stop"),
  /** Steps in a row that may be left out. */
  maxSkips: count.default(3),
  /** Seconds after which a phase that still runs is reported; 0 is off. */
  phaseTimeoutSeconds: z.number().min(0).default(1800),
  /** Steps between previews, after those of the first 50. */
  previewSteps: count.default(100),
};

const rewardServer = z.strictObject({
  /** Address, for example `http://127.0.0.1:8090`; no user or password. */
  url: z.string().min(1),
  /** Name of the environment variable with the bearer token. Default: none is sent. */
  tokenEnv: z.string().min(1).optional(),
  /** Seconds that one request may take. */
  timeoutSeconds: positive.default(60),
  /** Repeats of a request without an answer, before `onError` decides. */
  retries: z.int().min(0).default(3),
  /** Seconds before the first repeat; pauses double up to 10. */
  backoffSeconds: positive.default(1),
  /** What a server that stays away, or parts that stay null, do. */
  onError: z.enum(["wait", "stop", "null"]).default("wait"),
  /** Seconds without an answer after which `wait` ends the run. */
  maxWaitSeconds: positive.default(3600),
});

const sftConfig = z.strictObject({
  ...common,
  lora: loraSettings(0.05),
  learningRate: positive.default(1e-4),
  schedule: common.schedule.default("cosine"),
  /** As above. Default 3 % of all steps, rounded up. */
  warmupSteps: z.int().min(0).optional(),
  /** Passes over all samples, each in an order of its own. */
  epochs: count.default(3),
  /** Samples of one optimiser step. */
  batchSize: count.default(8),
  /**
   * Samples among which those of like lengths come into one step, so that little is padded: each so many of an epoch's random order are sorted by their tokens, cut into steps, and the
   * steps shuffled. Whole steps, and at most a quarter of all samples; 1 leaves the order as it is.
   */
  bucketWindow: count.default(128),
  /** Samples that are not trained on but tell `eval_loss`; whole dramas, drawn by the seed. 0 is none. */
  evalSamples: z.int().min(0).default(0),
  /** Steps between looks at them; the last step has one, too. A checkpoint is written wherever their loss is the lowest so far, and `best` names it. */
  evalSteps: count.default(10),
  /** Tokens of one call of the model, padding included, at most; a longer sample is computed alone. Loss and gradient do not depend on it, what dropout drops does. */
  maxBatchTokens: count.default(4096),
});

const grpoFields = z.strictObject({
  ...common,
  /** Dropout is 0 by default: what a policy drops while it learns, it did not drop while it wrote. */
  lora: loraSettings(0),
  learningRate: positive.default(1e-5),
  schedule: common.schedule.default("linear"),
  /** Generations; default one pass over the samples. */
  steps: count.optional(),
  /** Prompts of one generation. */
  promptsPerStep: count.default(8),
  /** Completions of each prompt. */
  numGenerations: z.int().min(2).default(16),
  /** Passes over each generation (mu of the paper). With more than one optimiser step a generation, ratios are taken against log-probabilities computed before the first. */
  numIterations: count.default(1),
  /** Micro-batches of one optimiser step, as in TRL. Prompts are computed one by one in any case: this says how losses are averaged, and with `stepsPerGeneration` how often the optimiser moves. */
  gradientAccumulationSteps: count.default(1),
  /** Micro-batches of one generation, each of equally many whole prompts; a multiple of `gradientAccumulationSteps` that divides `promptsPerStep`. Default `gradientAccumulationSteps`. */
  stepsPerGeneration: count.optional(),
  /** Divides the logits, in sampling and in training alike. */
  temperature: positive.default(1),
  /** Samples from the likeliest tokens that together have this probability, above 0; 1 is all. Less than that is another distribution than the one whose log-probabilities make the ratios, and a warning says so. */
  topP: z.number().gt(0).max(1).default(1),
  /** Samples from so many of the likeliest tokens, likewise; 0 is all. */
  topK: z.int().min(0).default(0),
  /** Tokens at which a completion is cut; also the divisor of `dr_grpo`. */
  maxCompletionLength: count.default(2048),
  /** How token losses are averaged and bounded; see `policyLoss`. */
  lossType: z.enum(["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo"]).default("grpo"),
  /** Ratio of each token, or of each completion (GSPO, arXiv:2507.18071). */
  importanceSamplingLevel: z.enum(["token", "sequence"]).default("token"),
  /** Lower clip, 1 − epsilon (arXiv:2402.03300). */
  epsilon: positive.default(0.2),
  /** Upper clip, 1 + epsilonHigh; for `cispo` the largest ratio itself. */
  epsilonHigh: positive.default(0.2),
  /** Cap of the unclipped ratio (arXiv:2505.07291); null is none. */
  delta: positive.nullable().default(null),
  /** Weight of the KL term; with 0 no reference is computed. */
  beta: z.number().min(0).default(0.04),
  /** Multiplies the KL term by the ratio, whose gradient counts. TRL 1.13 does by default. */
  biasCorrectionKl: z.boolean().default(false),
  /** Bounds of ref − logp and of the KL estimate of a token, both above 0; [20, 10] is what some engines do. */
  klClamp: z.tuple([positive, positive]).nullable().default(null),
  /** Policy of the KL term: adapter off, or the adapter the run starts from. Default the latter when there is one. */
  reference: z.enum(["base", "start"]).optional(),
  /** What the distance from the group's mean is divided by: the deviation of the group, of the generation, or nothing. */
  scaleRewards: z.enum(["group", "batch", "none"]).default("group"),
  /** `trl` adds 1e-4 to the sample deviation, `paper` divides by the plain one. */
  advantageConvention: z.enum(["trl", "paper"]).default("trl"),
  /** Deviation of `paper`, which does not say which it means. */
  advantageStd: z.enum(["population", "sample"]).default("population"),
  /** Normalises the weighted sum of the rewards, or each reward in its group and then their weighted sum. */
  advantageAggregation: z.enum(["sum_then_normalize", "normalize_then_sum"]).default("sum_then_normalize"),
  /** Leaves completions that were cut out of the loss; they stay in their group's mean. */
  maskTruncated: z.boolean().default(false),
  /** Does not compute groups of equal rewards where `beta` is 0, for their gradient is 0; losses are averaged as if it did. */
  skipZeroStd: z.boolean().default(true),
  /** Scores over HTTP by `dramascope rewards serve`. Default in this process. */
  rewardServer: rewardServer.optional(),
  /** Threads of this process that score, beside the one that trains; 0 scores in that one. Rewards are the same. */
  rewardWorkers: z.int().min(0).default(0),
  /** Completions of a prompt that are computed at once: fewer take less memory and a little more time, and give the same gradients to rounding. Default all. */
  completionChunk: count.optional(),
  /** Keeps token ids in `completions.jsonl`. */
  logTokenIds: z.boolean().default(false),
  /** What a wrong class earns in accuracy, times 1 − distance / 4; 0 pays exact classes only, as the paper does. A reward server has an option of its own. */
  nearMissCredit: z.number().min(0).max(1).default(0),
  /** Weights of the four rewards in their sum; the default is the paper's. */
  rewardWeights: z.strictObject({ caption: z.number(), comments: z.number(), accuracy: z.number(), format: z.number() }).default({ caption: 0.2, comments: 0.2, accuracy: 0.5, format: 0.1 }),
});

/** Settings that are right one by one and wrong together. */
const grpoConfig = grpoFields.superRefine(({ promptsPerStep, gradientAccumulationSteps, stepsPerGeneration = gradientAccumulationSteps, lossType, epsilonHigh, nearMissCredit, rewardServer: server, rewardWorkers }, context) => {
  const refuse = (key: keyof typeof grpoFields.shape, message: string): void => context.addIssue({ code: "custom", path: [key], message });
  if (promptsPerStep % stepsPerGeneration !== 0) refuse("promptsPerStep", `${promptsPerStep} prompts cannot be cut into ${stepsPerGeneration} equal micro-batches`);
  if (stepsPerGeneration % gradientAccumulationSteps !== 0) refuse("stepsPerGeneration", `${stepsPerGeneration} is no multiple of gradientAccumulationSteps ${gradientAccumulationSteps}`);
  if (rewardWorkers > 0 && server) refuse("rewardWorkers", "the reward server scores; leave one of them out");
  if (nearMissCredit > 0 && server) refuse("nearMissCredit", "a reward server scores by its own options: give it there");
  if (lossType === "cispo" && epsilonHigh < 1) refuse("epsilonHigh", `${epsilonHigh} would scale every token down, for with cispo it is a cap of the ratio itself; 5 is usual`);
});

/** Settings of an SFT run, defaults filled in. */
export type SftConfig = z.output<typeof sftConfig>;
/** Settings of an SFT run as given. */
export type SftConfigInput = z.input<typeof sftConfig>;
/** Settings of a GRPO run, defaults filled in. */
export type GrpoConfig = z.output<typeof grpoConfig>;
/** Settings of a GRPO run as given. */
export type GrpoConfigInput = z.input<typeof grpoConfig>;

function parse<S extends z.ZodObject>(schema: S, value: unknown, what: string, others: readonly string[]): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const texts = result.error.issues.map((issue) => {
    if (issue.code !== "unrecognized_keys") return `${issue.path.map(String).join(".")}: ${issue.message}`;
    const known = [...settingNames(schema, issue.path), ...(issue.path.length === 0 ? others : [])];
    const full = (key: string): string => [...issue.path.map(String), key].join(".");
    return issue.keys.map((key) => `${full(key)} is no setting; did you mean ${full(nearestName(key, known)!)}?`).join("; ");
  });
  throw new TrainerError(`${what}: ${texts.join("; ")}`, { code: "CONFIG_INVALID", hint: "Correct the named settings." });
}

/**
 * Checks SFT settings; an unknown one is an error with the nearest name.
 *
 * @param others Names that stand beside them in the same file, which could have been meant.
 */
export function parseSftConfig(value: unknown, others: readonly string[] = []): SftConfig {
  return parse(sftConfig, value, "the SFT settings", others);
}

/**
 * Checks GRPO settings; an unknown one is an error with the nearest name.
 *
 * @param others Names that stand beside them in the same file, which could have been meant.
 */
export function parseGrpoConfig(value: unknown, others: readonly string[] = []): GrpoConfig {
  return parse(grpoConfig, value, "the GRPO settings", others);
}
