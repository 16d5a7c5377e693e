import { z } from "zod";

/** ISO calendar date `YYYY-MM-DD`, a real day. */
export const isoDate = z.iso.date();

/** Id of a drama: 1–128 characters, no control characters, no white space around. Never a number: real ids exceed 2⁵³. */
export const dramaId = z
  .string()
  .min(1)
  .max(128)
  .regex(/^(?!\s)[^\u0000-\u001f\u007f]+(?<!\s)$/u, "must have no control characters and no white space around");

/** Quality class of a drama, 1 lowest … 5 highest. */
export const quality = z.union([z.literal(1), z.literal(2), z.literal(3), z.literal(4), z.literal(5)]);
/** Quality class of a drama, 1 lowest … 5 highest. */
export type Quality = z.infer<typeof quality>;

/** Video file of one episode. */
export const episodeFile = z.looseObject({
  /** 1-based. */
  index: z.int().min(1),
  path: z.string().min(1).optional(),
  url: z.url().optional(),
  durationSeconds: z.number().positive().optional(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/).optional(),
});
/** Video file of one episode. */
export type EpisodeFile = z.infer<typeof episodeFile>;

/** One viewer comment, without any user id. */
export const comment = z.looseObject({
  text: z.string(),
  likes: z.int().min(0),
  /** 1-based. */
  episode: z.int().min(1).optional(),
});
/** One viewer comment, without any user id. */
export type Comment = z.infer<typeof comment>;

/** A short drama with its episodes and comments. */
export const drama = z.looseObject({
  dramaId,
  title: z.string().optional(),
  genre: z.string().optional(),
  franchiseId: z.string().optional(),
  releasedOn: isoDate,
  episodes: z.array(episodeFile),
  comments: z.array(comment).optional(),
});
/** A short drama with its episodes and comments. */
export type Drama = z.infer<typeof drama>;

const amount = z.number().min(0).max(1e300);

/** One day of a drama's nine audience indicators. */
export const indicatorRow = z.looseObject({
  dramaId,
  date: isoDate,
  releasedOn: isoDate,
  /** Seconds. */
  dailyAvgWatchTime: amount,
  dailyAvgUv: amount,
  favorites: amount,
  likes: amount,
  /** Seconds. */
  sixMonthWatchTime: amount,
  sixMonthUv: amount,
  comments: amount,
  search: amount,
  /** Ratio 0 … 1; null when unknown. */
  completionRate: z.number().min(0).max(1).nullable(),
});
/** One day of a drama's nine audience indicators. */
export type IndicatorRow = z.infer<typeof indicatorRow>;

/** Scores of the nine indicators, dimensionless, mostly 0–100. */
export const indicatorScores = z.object({
  dailyAvgWatchTime: z.number(),
  dailyAvgUv: z.number(),
  favorites: z.number(),
  likes: z.number(),
  sixMonthWatchTime: z.number(),
  sixMonthUv: z.number(),
  comments: z.number(),
  search: z.number(),
  completionRate: z.number(),
});
/** Scores of the nine indicators, dimensionless, mostly 0–100. */
export type IndicatorScores = z.infer<typeof indicatorScores>;

/** A drama's hot value at its peak and the class that follows from it. */
export const hotValueRecord = z.looseObject({
  dramaId,
  hotValue: z.number(),
  quality: quality.nullable(),
  peakDate: isoDate,
  scores: indicatorScores,
  modelHash: z.string(),
});
/** A drama's hot value at its peak and the class that follows from it. */
export type HotValueRecord = z.infer<typeof hotValueRecord>;

/** Where a sample goes: held-out evaluation, supervised fine-tuning or GRPO. */
export const split = z.enum(["eval", "sft", "grpo"]);
/** Where a sample goes. */
export type Split = z.infer<typeof split>;

/** How a record of curation came about: enough to find its answers again, nothing of time or place. */
export const provenance = z.looseObject({
  /** Follows from the settings and the seed of the split. */
  runId: z.string(),
  /** Generation of answers, 1 the first; another prompt, model or sampling value opens a new one. */
  generation: z.int().min(1),
  /** Ledger keys of the answers that the record rests on, in the order they were used. */
  stepKeys: z.array(z.string()),
  /** Prompts as `id@version#hash`. */
  templates: z.array(z.string()),
  /** Teacher model asked for. */
  modelRequested: z.string(),
  /** Models that answered, by their own word, sorted. */
  modelReturned: z.array(z.string()),
  /** Sampling of the chain of thought; null for a record without one. */
  sampling: z.looseObject({ round: z.int().min(1), temperature: z.number().min(0), topP: z.number().positive().max(1) }).nullable(),
  /** Form and settings of what the teacher saw. */
  framePlan: z.looseObject({}),
  /** How the dramas were divided, and the group that this one moved with. */
  split: z.looseObject({ mode: z.string(), seed: z.string(), groupId: z.string() }),
  /** Hash of the hot value model that gave the class; null when unknown. */
  classCalibration: z.string().nullable(),
  /** Version of the curation package. */
  codeVersion: z.string(),
});
/** How a record of curation came about. */
export type Provenance = z.infer<typeof provenance>;

/** What became of one sampling round. */
export const roundVerdict = z.looseObject({
  /** 1-based. */
  round: z.int().min(1),
  /** `valid`; `mismatch`: another class than the known one; `rejected` by the filter; `no-verdict`: the filter gave none; `unusable` or `blocked`: no readable answer. */
  verdict: z.enum(["valid", "mismatch", "rejected", "no-verdict", "unusable", "blocked"]),
  /** Class that the teacher gave; null when its answer could not be read. */
  predicted: quality.nullable(),
  /** Why an answer was of no use; null otherwise. */
  code: z.string().nullable(),
  /** The filter's words; null without any. */
  reason: z.string().nullable(),
  /** Votes of the filter in their order. */
  votes: z.array(z.boolean()),
  /** Rules of the local check that the text breaks. */
  preflags: z.array(z.string()),
  /** Chain of thought, of a selected round only; null otherwise. */
  think: z.string().nullable(),
});
/** What became of one sampling round. */
export type RoundVerdict = z.infer<typeof roundVerdict>;

/** One drama after curation, accepted or not, with how that came about. */
export const curatedSample = z.looseObject({
  sampleId: z.string().min(1),
  dramaId,
  split,
  quality,
  episodes: z.array(episodeFile),
  caption: z.string().nullable(),
  /** Kept comments, redacted, most liked first. */
  comments: z.array(z.string()),
  /** Accepted chain of thought, the first of several; null when none was found or needed. */
  think: z.string().nullable(),
  /** `kept`, or why the drama gives no training record. */
  decision: z.string().min(1),
  /** Sampling rounds in order; none where none was needed. */
  rounds: z.array(roundVerdict),
  /** Comments that stayed without a label and were dropped. */
  unresolved: z.int().min(0),
  /** What a reader should know: `no-caption`, `no-comments`, `unresolved-comments`. */
  flags: z.array(z.string()),
  provenance,
});
/** One drama after curation, accepted or not. */
export type CuratedSample = z.infer<typeof curatedSample>;

/** Part of a message: text, or a place where the frames of an episode go. */
export const contentPart = z.union([
  z.object({ type: z.literal("text"), text: z.string() }),
  /** `video` is the 0-based index into the sample's `videos`. */
  z.object({ type: z.literal("video"), video: z.int().min(0) }),
]);
/** Part of a message: text, or the place of an episode's frames. */
export type ContentPart = z.infer<typeof contentPart>;

/** One chat message. */
export const message = z.object({
  role: z.enum(["system", "user", "assistant"]),
  content: z.union([z.string(), z.array(contentPart)]),
});
/** One chat message. */
export type Message = z.infer<typeof message>;

/** Reference to an episode's frames. */
export const videoReference = z.looseObject({
  dramaId,
  /** 1-based. */
  episode: z.int().min(1),
  /** Path of the episode's frame manifest, relative to the file that holds the sample. */
  manifest: z.string().optional(),
});
/** Reference to an episode's frames. */
export type VideoReference = z.infer<typeof videoReference>;

const sampleCore = {
  sampleId: z.string().min(1),
  messages: z.array(message).min(1),
  videos: z.array(videoReference),
  /** How the record came about; absent in records that curation did not write. */
  provenance: provenance.optional(),
  /** What a reader should know: `no-caption`, `no-comments`. */
  flags: z.array(z.string()).optional(),
};

/** One training record: SFT with the answer to learn, or GRPO with what rewards compare with. */
export const trainingSample = z.discriminatedUnion("kind", [
  z.looseObject({
    ...sampleCore,
    kind: z.literal("sft"),
    target: z.string().min(1),
    /** Factor on the record's loss, 1 on average over a file; absent is 1. */
    weight: z.number().positive().optional(),
  }),
  z.looseObject({ ...sampleCore, kind: z.literal("grpo"), quality, caption: z.string(), comments: z.array(z.string()) }),
]);
/** One training record, SFT or GRPO. */
export type TrainingSample = z.infer<typeof trainingSample>;
/** A training record with the answer to learn. */
export type SftSample = Extract<TrainingSample, { kind: "sft" }>;
/** A training record with what rewards compare with. */
export type GrpoSample = Extract<TrainingSample, { kind: "grpo" }>;

/** One stamped frame of a {@link FrameManifest}. */
export const frameEntry = z.looseObject({
  i: z.int().min(0),
  second: z.number().min(0),
  label: z.int().min(0),
  repeat: z.boolean(),
  file: z.string().optional(),
  bytes: z.int().optional(),
  sha256: z.string().optional(),
});

/** What was done to turn one episode into frames; beside the frames, with sorted keys and no absolute path. */
export const frameManifest = z.looseObject({
  schema: z.literal(1),
  kind: z.literal("dramascope.frames"),
  source: z.looseObject({
    sha256: z.string(),
    bytes: z.int(),
    container: z.string(),
    codec: z.string(),
    display: z.tuple([z.int(), z.int()]),
    rotation: z.int(),
    /** Seconds. */
    fileStart: z.number(),
    /** Seconds. */
    end: z.number(),
  }),
  plan: z.looseObject({
    strideSeconds: z.int().min(1),
    frames: z.int().min(2),
    sampled: z.int().min(1),
    width: z.int().min(28),
    height: z.int().min(28),
    tokens: z.int().min(1),
    clock: z.enum(["continuous", "episode"]),
    /** Seconds. */
    clockOffset: z.int().min(0),
  }),
  sampleFps: z.number().positive(),
  /** Seconds of one temporal grid (a pair of frames). */
  secondPerGrid: z.number().positive(),
  overlay: z.looseObject({}),
  frames: z.array(frameEntry).min(1),
  warnings: z.array(z.string()),
});
/** What was done to turn one episode into frames. */
export type FrameManifest = z.infer<typeof frameManifest>;

/** A model's answer to one prompt. */
export const completion = z.looseObject({
  sampleId: z.string().min(1),
  text: z.string(),
  finishReason: z.enum(["stop", "length", "abort"]),
  tokenCount: z.int().min(0),
  /** Nats, one a token. */
  logProbs: z.array(z.number()).optional(),
});
/** A model's answer to one prompt. */
export type Completion = z.infer<typeof completion>;

const reward = z.number().min(0).max(1).nullable();

/** Rewards of one completion; null where it could not be computed, never 0 instead. */
export const rewardBreakdown = z.looseObject({
  format: reward,
  accuracy: reward,
  caption: reward,
  comments: reward,
  total: z.number().nullable(),
  /** Limits hit and causes of null. */
  reasons: z.array(z.string()),
  version: z.string(),
});
/** Rewards of one completion; null where one could not be computed. */
export type RewardBreakdown = z.infer<typeof rewardBreakdown>;

/** One reason of an assessment with its place in the drama. */
export const assessmentReason = z.looseObject({
  text: z.string(),
  kind: z.enum(["strength", "weakness", "remark"]),
  /** 1-based. */
  episode: z.int().min(1).nullable(),
  /** Seconds from the start of that episode. */
  seconds: z.number().min(0).nullable(),
});
/** One reason of an assessment with its place in the drama. */
export type AssessmentReason = z.infer<typeof assessmentReason>;

/** Share of each class, p1 … p5; sums to 1. */
export const distribution = z.object({ p1: z.number(), p2: z.number(), p3: z.number(), p4: z.number(), p5: z.number() });
/** Share of each class, p1 … p5; sums to 1. */
export type Distribution = z.infer<typeof distribution>;

/** What Dramascope says of one drama. A value that could not be had is null, with its cause in `warnings`. */
export const assessment = z.looseObject({
  dramaId,
  /** `ok`: a readable answer; `unreadable`: the model's answer holds no score; `failed`: the drama could not be looked at. */
  status: z.enum(["ok", "unreadable", "failed"]),
  /** Expected score, 1 … 5, higher is better. */
  score: z.number().min(1).max(5).nullable(),
  quality: quality.nullable(),
  distribution: distribution.nullable(),
  /** 95 % interval of the score; null without a calibration. */
  interval: z.tuple([z.number(), z.number()]).nullable(),
  /** Share of the reference catalogue that scores lower, 0 … 100; null without one. */
  percentile: z.number().min(0).max(100).nullable(),
  calibrationId: z.string().nullable(),
  caption: z.string().nullable(),
  comments: z.array(z.string()),
  reasons: z.array(assessmentReason),
  decision: z.looseObject({ action: z.enum(["procure", "price", "reject", "recommend", "human-review"]), why: z.string() }),
  model: z.looseObject({ name: z.string(), sha256: z.string().nullable() }),
  adapter: z.looseObject({ name: z.string(), sha256: z.string().nullable() }).nullable(),
  promptHash: z.string(),
  frames: z.looseObject({
    episodes: z.int().min(0),
    frames: z.int().min(0),
    tokens: z.int().min(0),
    strideSeconds: z.int().min(1),
    clock: z.enum(["continuous", "episode"]),
  }),
  /** Seconds by phase. */
  timings: z.record(z.string(), z.number()),
  warnings: z.array(z.string()),
});
/** What Dramascope says of one drama. */
export type Assessment = z.infer<typeof assessment>;
