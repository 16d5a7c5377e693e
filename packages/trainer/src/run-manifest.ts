import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { hashJson, sha256File, type TrainingSample } from "@dramascope/schema";
import { z } from "zod";
import type { GrpoConfig, SftConfig } from "./config.ts";
import { TrainerError } from "./errors.ts";

/** Seconds that the positions of one temporal grid stand for: one, or the video's own. */
export type TimeBase = "pinned" | "true-fps";

/** Where an adapter comes from. */
export const lineage = z.looseObject({
  format: z.literal("dramascope.lineage"),
  /** How it was trained. */
  kind: z.enum(["sft", "grpo"]),
  /** Hash of the base model. */
  model: z.string(),
  /** Seconds of a temporal grid that positions were computed with. */
  timeBase: z.enum(["pinned", "true-fps"]),
  /** Policy of the KL term; null without one. */
  reference: z.enum(["base", "start"]).nullable(),
  /** Version of the rewards; null without any. */
  rewardVersion: z.string().nullable(),
  /** Hash over the texts that samples asked with. */
  promptHash: z.string(),
  /** SHA-256 of the adapter's weights that the run started from; null for a fresh one. */
  parent: z.string().nullable(),
  /** Adapters before this one, the oldest first. */
  ancestors: z.array(z.looseObject({ kind: z.enum(["sft", "grpo"]), sha256: z.string(), identity: z.string() })),
  /** Identity of the run. */
  identity: z.string(),
  /** Versions of this package and of Node. */
  versions: z.record(z.string(), z.string()),
});
/** Where an adapter comes from; beside its weights as `run-manifest.json`. */
export type Lineage = z.infer<typeof lineage>;

/** What a run is, in `run.json`. */
export interface RunManifest {
  format: "dramascope.run";
  kind: "sft" | "grpo";
  /** Settings, defaults filled in. */
  config: Readonly<Record<string, unknown>>;
  /** Hash of settings and inputs; another one cannot resume this run. */
  identity: string;
  /** Identities that the run had before settings or inputs changed. */
  former: string[];
  /** Hashes and names of data, model, start adapter, time base and back end. */
  inputs: Readonly<Record<string, string>>;
  lineage: Lineage;
  /** Settings and inputs that changed on the way, where that was allowed. */
  drift: string[];
  finished: boolean;
}

/** Settings that say where and how a run goes, not what comes of it. */
const OUTSIDE_IDENTITY: ReadonlySet<string> = new Set(["runDir", "rewardServer", "rewardWorkers", "phaseTimeoutSeconds", "nanPolicy", "maxSkips", "saveSteps", "keepCheckpoints", "previewSteps", "logTokenIds", "completionChunk"]);

/** Inputs of {@link makeRunManifest}. */
export interface RunManifestInputs {
  kind: "sft" | "grpo";
  config: SftConfig | GrpoConfig;
  samples: readonly TrainingSample[];
  modelHash: string;
  timeBase: TimeBase;
  /** Back end, device and threads; part of the identity, for another one computes other last bits. */
  backend: string | undefined;
}

/** Policy of the KL term; null for a run without one. */
function referenceOf(config: SftConfig | GrpoConfig): Lineage["reference"] {
  if (!("beta" in config) || config.beta === 0) return null;
  return config.adapter === undefined ? "base" : (config.reference ?? "start");
}

/** Hash over the different texts that the samples ask with. */
function hashOfPrompts(samples: readonly TrainingSample[]): string {
  const texts = new Set(samples.map(({ messages }) => JSON.stringify(messages)));
  return hashJson([...texts].sort());
}

/**
 * Reads where an adapter comes from; undefined for one that was not made here.
 *
 * @throws TrainerError `LINEAGE_INVALID` when its `run-manifest.json` cannot be used.
 */
export async function readLineage(adapter: string): Promise<Lineage | undefined> {
  const path = join(adapter, "run-manifest.json");
  try {
    return lineage.parse(JSON.parse(await readFile(path, "utf8")));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new TrainerError(`${path} cannot be used: ${(error as Error).message}`, { code: "LINEAGE_INVALID", cause: error, hint: "Give the adapter folder as training wrote it, or remove that file to go on without its history." });
  }
}

/**
 * Describes a run before it starts.
 *
 * @throws TrainerError `TIME_BASE_MISMATCH` or `MODEL_MISMATCH` when the start adapter was trained with another time base or base model.
 */
export async function makeRunManifest({ kind, config, samples, modelHash, timeBase, backend }: RunManifestInputs): Promise<RunManifest> {
  const settings = Object.fromEntries(Object.entries(config).filter(([name]) => name !== "runDir"));
  const parent = config.adapter === undefined ? undefined : await readLineage(config.adapter);
  const parentHash = config.adapter === undefined ? null : await sha256File(join(config.adapter, "adapter_model.safetensors"));
  const refuse = (code: string, what: string, theirs: string, ours: string): never => {
    throw new TrainerError(`the adapter ${config.adapter!} was trained with ${what} ${theirs}, this run has ${ours}`, { code, hint: "Train both stages alike, or start from another adapter." });
  };
  if (parent && parent.timeBase !== timeBase) refuse("TIME_BASE_MISMATCH", "time base", parent.timeBase, timeBase);
  if (parent && parent.model !== modelHash) refuse("MODEL_MISMATCH", "the base model", parent.model, modelHash);
  const inputs = { data: hashJson(samples), model: modelHash, timeBase, ...(parentHash === null ? {} : { adapter: parentHash }), ...(backend === undefined ? {} : { backend }) };
  const judged = Object.fromEntries(Object.entries(settings).filter(([name]) => !OUTSIDE_IDENTITY.has(name) && name !== "adapter"));
  const identity = hashJson({ kind, settings: judged, inputs });
  const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
  return {
    format: "dramascope.run",
    kind,
    config: settings,
    identity,
    former: [],
    inputs,
    lineage: {
      format: "dramascope.lineage",
      kind,
      model: modelHash,
      timeBase,
      reference: referenceOf(config),
      rewardVersion: null,
      promptHash: hashOfPrompts(samples),
      parent: parentHash,
      ancestors: parent && parentHash !== null ? [...parent.ancestors, { kind: parent.kind, sha256: parentHash, identity: parent.identity }] : [],
      identity,
      versions: { trainer: version, node: process.versions.node },
    },
    drift: [],
    finished: false,
  };
}
