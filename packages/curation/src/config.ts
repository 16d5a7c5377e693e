import { nearestName, settingNames } from "@dramascope/schema";
import { z } from "zod";
import { CurationError } from "./errors.ts";

const positive = z.number().positive();
const notNegative = z.number().min(0);
const count = z.int().min(1);
/** Name of an environment variable that holds a value which no file may hold. */
const environmentName = z.string().regex(/^[A-Za-z_]\w*$/u, "must be the name of an environment variable, not a value");

function holdsNoSecret(address: string): boolean {
  if (!URL.canParse(address)) return true;
  const { username, password, search } = new URL(address);
  return `${username}${password}${search}` === "";
}

const priceBand = z.strictObject({
  /** Longest prompt of this band, in tokens, inclusive; without it the band has no end. */
  upTo: count.optional(),
  /** Per million prompt tokens. */
  in: notNegative,
  /** Per million tokens of the answer. */
  out: notNegative,
  /** Per million prompt tokens that the provider had in its cache; default `in`. */
  hit: notNegative.optional(),
});

const capabilities = z.strictObject({
  /** The provider keeps to a JSON schema that is sent along. */
  jsonSchema: z.boolean().default(false),
  /** The provider takes `metadata`: task, drama, round. */
  metadata: z.boolean().default(false),
  /** The provider is one's own and may be told task, drama and round in `x-dramascope-*` headers. */
  traceHeaders: z.boolean().default(false),
  /** Where frames per second of a `video_url` go: into its part, beside it, or nowhere. */
  fpsWhere: z.enum(["inside", "beside", "none"]).default("none"),
  /** Parameter that turns off a reasoning model's own thoughts, and is then sent. */
  thinkingParam: z.enum(["none", "thinking", "enable_thinking"]).default("none"),
});

const teacher = z.strictObject({
  /** Without `/chat/completions`. */
  baseURL: z.url().refine(holdsNoSecret, "must not hold a name, a password or a query; name the key's variable in apiKeyEnv"),
  /** Environment variable with the provider's key; without one no key is sent. */
  apiKeyEnv: environmentName.optional(),
  model: z.string().min(1),
  /** What the teacher sees of an episode: our numbered frames, a link to its file, or the provider's id of it. */
  media: z.enum(["frames", "video_url", "file_id"]).default("frames"),
  /** Frames a second that a provider takes from a `video_url`; default its own. */
  fps: positive.optional(),
  capabilities: capabilities.prefault({}),
  limits: z
    .strictObject({
      /** Requests in a window, by default a minute. */
      rpm: positive.optional(),
      /** Tokens in a window, prompts and answers together. */
      tpm: positive.optional(),
      /** Calls at once, of all workers. */
      inFlight: count.default(16),
      /** Length of the window that `rpm` and `tpm` count in, milliseconds. */
      windowMs: positive.default(60_000),
    })
    .prefault({}),
  timeouts: z
    .strictObject({
      /** Whole call, milliseconds. */
      callMs: positive.default(900_000),
    })
    .prefault({}),
  /** Without prices money is neither counted nor limited. */
  prices: z
    .strictObject({
      /** Three letters, for example USD. */
      currency: z.string().min(1),
      /** Day on which the prices were looked up. */
      date: z.iso.date(),
      /** By length of the prompt, shortest first. */
      bands: z.array(priceBand).min(1).refine((bands) => bands.every(({ upTo }, i) => i === 0 || (bands[i - 1]!.upTo ?? Infinity) < (upTo ?? Infinity)), "must rise in upTo; only the last one may do without"),
    })
    .optional(),
  /** Longest answer in tokens; one that is cut off is asked for once more with twice as many. */
  maxTokens: count.default(2048),
  /** Attempts before a step waits for `retry`. */
  maxAttempts: count.default(6),
  /** First pause between attempts, milliseconds; doubles up to 60 s. */
  backoffMs: positive.default(1000),
});

const rounds = z
  .strictObject({
    /** Rounds of every drama, valid answers or not. */
    min: count.default(1),
    max: count.default(8),
    /** No further round once a drama has so many valid answers. */
    stopAfterValid: count.default(1),
    /** Most rounds of single classes, instead of `max`. */
    perClassMax: z.partialRecord(z.enum(["1", "2", "3", "4", "5"]), count).default({ "1": 16, "5": 16 }),
    /** Temperature of round 1, 2, …; after the last it starts again. */
    temperature: z.array(notNegative.max(2)).min(1).default([0.7, 0.8, 0.9, 1]),
    topP: positive.max(1).default(0.95),
    /** A class gets no further round once a round of it has cost more for each drama that it won; rounds then go class by class. */
    maxCostPerNewDrama: positive.optional(),
  })
  .refine(({ min, max }) => min <= max, { message: "must not exceed rounds.max", path: ["min"] });

const frames = z.strictObject({
  /** Visual tokens of all episodes together. */
  tokenBudget: count.optional(),
  /** Frames are thinned out before a pair of frames gets fewer tokens. */
  floorPairTokens: count.optional(),
  /** Most tokens of a pair of frames. */
  maxPairTokens: count.optional(),
  /** Tiny sources are enlarged to this many tokens. */
  minFrameTokens: count.optional(),
  maxFramesPerEpisode: count.optional(),
  /** The rest of an episode is not looked at. */
  maxSecondsPerEpisode: positive.optional(),
});

/** Settings of a curation, to be checked with {@link parseCurationConfig}; also the source of the settings' JSON Schema. */
export const curationConfig = z.strictObject({
  version: z.literal(1).default(1),
  /** Files of dramas and of their classes; a program may give dramas itself. */
  input: z
    .strictObject({
      /** JSONL of `Drama` records. */
      dramas: z.string().min(1),
      /** JSONL of `HotValueRecord`s. */
      labels: z.string().min(1),
      /** Folders that relative paths of episodes start from, the first that has the file; absolute paths and links have to lead into one of them as well. Default the folder of `dramas`. */
      mediaRoots: z.array(z.string().min(1)).default([]),
    })
    .optional(),
  /** Folder of ledger, frames and journal. */
  workdir: z.string().min(1).default("curation"),
  teacher,
  split: z
    .strictObject({
      /** Divide first, or let every drama with a valid answer become SFT and the rest GRPO. */
      mode: z.enum(["split-first", "yield-first"]).default("split-first"),
      seed: z.string().default("split-1"),
      /** Evaluation dramas of each class. */
      evalPerClass: z.int().min(0).default(200),
      /** Most SFT dramas. */
      sftSize: z.int().min(0).default(10_000),
    })
    .prefault({}),
  rounds: rounds.prefault({}),
  filter: z
    .strictObject({
      /** Verdicts on an answer, an odd number; most decide. */
      votes: count.refine((votes) => votes % 2 === 1, "must be odd").default(1),
      /** Answers with a local flag are dropped without asking. */
      preflagsReject: z.boolean().default(false),
    })
    .prefault({}),
  comments: z
    .strictObject({
      /** Most comments of a drama that are looked at. */
      max: count.max(200).default(20),
      /** Labels by number or by the comment's text. */
      shape: z.enum(["indexed", "keyed"]).default("indexed"),
      /** Comments in an answer in tags. */
      answerComments: count.default(10),
      /** Environment variable with the secret under which comments are hashed, to be recognised again after redaction; without one no hash is kept. */
      saltEnv: environmentName.optional(),
    })
    .prefault({}),
  select: z
    .strictObject({
      /** Valid answers of a drama that are kept. */
      cotPerDrama: count.default(1),
      seed: z.string().default("pick-1"),
    })
    .prefault({}),
  /** Classes in the SFT set: as they come, each cut to `export.capFactor` times the smallest, or weighted. */
  balance: z.enum(["none", "cap", "weight"]).default("none"),
  budget: z
    .strictObject({
      /** In the currency of the prices; no call goes out that could bring the spending above it. */
      maxCost: positive.optional(),
    })
    .prefault({}),
  /** Default a SQLite file in the work folder. */
  ledger: z
    .discriminatedUnion("driver", [
      z.strictObject({ driver: z.literal("sqlite"), path: z.string().min(1) }),
      z.strictObject({
        driver: z.literal("postgres"),
        /** Environment variable with the address. */
        urlEnv: environmentName,
        /** Schema of the tables. */
        schema: z.string().regex(/^[a-z_][a-z0-9_]{0,40}$/u).optional(),
      }),
    ])
    .optional(),
  prompts: z
    .strictObject({
      /** Folder with `<id>.md` or `<id>.<language>.md` that replace built-in prompts. */
      dir: z.string().min(1).optional(),
    })
    .prefault({}),
  /** Episodes before or after the request. */
  mediaPosition: z.enum(["before", "after"]).default("before"),
  /** Language of prompts and answers. */
  language: z.enum(["en", "zh"]).default("en"),
  /** How many frames, and how large; see the `frames` command. */
  frames: frames.prefault({}),
  export: z
    .strictObject({
      /** Default `export` in the work folder. */
      dir: z.string().min(1).optional(),
      formats: z.array(z.enum(["jsonl", "parquet"])).min(1).default(["jsonl"]),
      /** Form of SFT answers: the JSON of the cot prompt, or the four tags of the grpo prompt. */
      sftFormat: z.enum(["json", "tags"]).default("json"),
      /** With `balance: cap`, most dramas of a class as a multiple of the smallest class. */
      capFactor: z.number().min(1).default(1),
    })
    .prefault({}),
  /** Milliseconds that calls in flight get to end when a run is stopped. */
  drainMs: notNegative.default(30_000),
  /** Calls at once of one worker. Default `teacher.limits.inFlight`. */
  concurrency: count.optional(),
});
/** Settings of a curation, defaults filled in. */
export type CurationConfig = z.output<typeof curationConfig>;
/** Settings of a curation as given. */
export type CurationConfigInput = z.input<typeof curationConfig>;

/** The settings as a JSON Schema (draft 2020-12) of what a file may hold; `curation.schema.json` of this package is the same with descriptions. */
export function curationJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(curationConfig, { io: "input" });
}

/**
 * Checks settings and fills in defaults; an unknown one is an error with the nearest name. Nothing is looked up or run.
 *
 * @throws CurationError `CONFIG_INVALID` naming every wrong setting.
 */
export function parseCurationConfig(value: unknown): CurationConfig {
  const result = curationConfig.safeParse(value);
  if (result.success) return result.data;
  const texts = result.error.issues.map((issue) => {
    const place = issue.path.map(String);
    if (issue.code !== "unrecognized_keys") return `${place.join(".") || "settings"}: ${issue.message}`;
    return issue.keys
      .map((key) => {
        const near = nearestName(key, settingNames(curationConfig, issue.path).filter((name) => name !== key));
        return `${[...place, key].join(".")} is no setting${near === undefined ? "" : `; did you mean ${[...place, near].join(".")}?`}`;
      })
      .join("; ");
  });
  throw new CurationError(texts.join("; "), { code: "CONFIG_INVALID", hint: "Correct the named settings." });
}
