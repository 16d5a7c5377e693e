import { dirname, resolve } from "node:path";
import { readJsonl, trainingSample, type TrainingSample, type VideoReference } from "@dramascope/schema";
import { grpoPreset, mergeSettings, originsOf, parseGrpoConfig, parseSftConfig, type GrpoConfig, type OriginatedSetting, type SftConfig } from "@dramascope/trainer";
import { readFrames } from "@dramascope/video";
import { CliError } from "./errors.ts";
import { readConfig, textSetting, weightSettings, type WeightSettings } from "./model.ts";
import { assignedSettings } from "./set-option.ts";

/** Settings of a training file that are not the trainer's. */
const OTHERS = ["model", "data", "timeBase", "preset", "featureCache", "dtype", "products", "weightCache"];

/** What flags say over the file. */
export interface TrainFlags {
  /** Preset of GRPO; default what the file names. */
  preset?: string | undefined;
  /** `path=value`, dots between the parts of a path, the value in YAML. */
  set?: readonly string[] | undefined;
  seed?: number | undefined;
}

/** A training run as its file and flags describe it; all paths absolute. */
export interface TrainProject {
  config: SftConfig | GrpoConfig;
  model: string;
  data: string;
  timeBase: "pinned" | "true-fps";
  weights: WeightSettings;
  /** Folder for features of frames; undefined where none are kept. */
  featureCache: string | undefined;
  /** Every setting with where its value comes from. */
  origins: OriginatedSetting[];
}

async function flagSettings({ preset, set = [], seed }: TrainFlags): Promise<Record<string, unknown>> {
  return mergeSettings({ ...(preset !== undefined && { preset }), ...(seed !== undefined && { seed }) }, await assignedSettings(set, "lora.r=16"));
}

function presetSettings(kind: "sft" | "grpo", preset: unknown, configPath: string): Record<string, unknown> {
  if (preset === undefined) return {};
  if (kind === "sft") throw new CliError(`${configPath}: presets are for GRPO`, { code: "CONFIG_INVALID", hint: "Leave out preset." });
  return grpoPreset(textSetting({ preset }, "preset", configPath));
}

/**
 * Reads a training file and lays preset, file and flags over each other.
 *
 * @throws CliError, TrainerError `CONFIG_INVALID` naming the setting.
 */
export async function openTrainProject(kind: "sft" | "grpo", configPath: string, flags: TrainFlags): Promise<TrainProject> {
  const here = dirname(resolve(configPath));
  const [file, flag] = [await readConfig(configPath), await flagSettings(flags)];
  const given = mergeSettings(file, flag);
  const preset = presetSettings(kind, given["preset"], configPath);
  const { weights, rest } = weightSettings(mergeSettings(preset, given), configPath, here);
  const { model: modelFolder, data, timeBase = "pinned", preset: _preset, featureCache: givenCache, ...settings } = rest;
  const at = (name: string, value: unknown): string => resolve(here, textSetting({ [name]: value }, name, configPath));
  if (timeBase !== "pinned" && timeBase !== "true-fps") throw new CliError(`${configPath}: timeBase is ${JSON.stringify(timeBase)}`, { code: "CONFIG_INVALID", hint: "Use pinned or true-fps." });
  const featureCache = givenCache === undefined ? undefined : at("featureCache", givenCache);
  const paths = { runDir: at("runDir", settings["runDir"]), ...(settings["adapter"] !== undefined && { adapter: at("adapter", settings["adapter"]) }) };
  const config = kind === "sft" ? parseSftConfig({ ...settings, ...paths }, OTHERS) : parseGrpoConfig({ ...settings, ...paths }, OTHERS);
  const project: Omit<TrainProject, "config" | "origins"> = { model: at("model", modelFolder), data: at("data", data), timeBase, weights, featureCache };
  const resolved = { model: project.model, data: project.data, timeBase, dtype: "float32", products: "bfloat16", ...weights, ...(featureCache !== undefined && { featureCache }), ...config };
  return { ...project, config, origins: originsOf(resolved, { preset, file, flag }) };
}

/** Samples of the kind, in the order of the file. */
export async function readSamples(kind: "sft" | "grpo", data: string): Promise<TrainingSample[]> {
  const samples: TrainingSample[] = [];
  for await (const sample of readJsonl(data, trainingSample)) if (sample.kind === kind) samples.push(sample);
  return samples;
}

/** Path of the frame manifest of a video. */
export function manifestPath(data: string, { manifest, dramaId, episode }: VideoReference): string {
  if (manifest === undefined) throw new CliError(`${data}: drama ${dramaId}, episode ${episode} names no frame manifest`, { code: "FRAMES_MISSING", hint: "Export the data with frames, see dramascope curate export." });
  return resolve(dirname(data), manifest);
}

/** Loads the frames of a video that a data file names. */
export function frameLoader(data: string): (video: VideoReference) => ReturnType<typeof readFrames> {
  return async (video) => readFrames(manifestPath(data, video));
}
