import { TrainerError } from "./errors.ts";
import type { GrpoConfigInput } from "./config.ts";

/** Settings of GRPO that belong together. */
const GRPO_PRESETS = {
  /** Group size, reward weights, epochs and advantages of the paper, eq. 11. What the paper does not state stays at its default. */
  paper: { numGenerations: 16, rewardWeights: { caption: 0.2, comments: 0.2, accuracy: 0.5, format: 0.1 }, advantageConvention: "paper", advantageStd: "population", beta: 0.04 },
  /** What TRL 1.13's `GRPOTrainer` does unless told otherwise. */
  "trl-1.13": { lossType: "dapo", beta: 0, biasCorrectionKl: true, advantageConvention: "trl" },
  /** Group sequence policy optimisation, https://arxiv.org/abs/2507.18071. */
  gspo: { lossType: "grpo", importanceSamplingLevel: "sequence", epsilon: 3e-4, epsilonHigh: 4e-4 },
} as const satisfies Record<string, Partial<GrpoConfigInput>>;

/** Name of one of {@link GRPO_PRESETS}. */
export type GrpoPreset = keyof typeof GRPO_PRESETS;

/** Where a setting's value comes from, the later ones winning. */
export type SettingOrigin = "default" | "preset" | "file" | "flag";

/** A setting with its value and where that comes from; parts of nested settings have dotted names. */
export interface OriginatedSetting {
  /** For example `lora.r`. */
  name: string;
  /** Its value after defaults. */
  value: unknown;
  /** The layer that set it. */
  origin: SettingOrigin;
}

type Settings = Readonly<Record<string, unknown>>;

const isNested = (value: unknown): value is Settings => typeof value === "object" && value !== null && !Array.isArray(value);

/** Leaves of settings by dotted name. */
function leaves(settings: Settings, prefix = ""): Map<string, unknown> {
  const out = new Map<string, unknown>();
  for (const [name, value] of Object.entries(settings)) {
    if (isNested(value)) for (const [path, leaf] of leaves(value, `${prefix}${name}.`)) out.set(path, leaf);
    else out.set(`${prefix}${name}`, value);
  }
  return out;
}

/** The settings of a preset. */
export function grpoPreset(name: string): Partial<GrpoConfigInput> {
  if (!Object.hasOwn(GRPO_PRESETS, name)) throw new TrainerError(`there is no preset ${JSON.stringify(name)}`, { code: "CONFIG_INVALID", hint: `Use ${Object.keys(GRPO_PRESETS).join(", ")}.` });
  return GRPO_PRESETS[name as GrpoPreset];
}

/** One setting over another: nested ones by their parts, all others whole. */
export function mergeSettings(under: Settings, over: Settings): Record<string, unknown> {
  const out = new Map(Object.entries(under));
  for (const [name, value] of Object.entries(over)) {
    const known = out.get(name);
    out.set(name, isNested(known) && isNested(value) ? mergeSettings(known, value) : value);
  }
  return Object.fromEntries(out);
}

/**
 * Every setting of a run with where its value comes from.
 *
 * @param resolved Checked settings with their defaults.
 * @param layers   What preset, file and flags say.
 */
export function originsOf(resolved: Settings, layers: Readonly<Record<Exclude<SettingOrigin, "default">, Settings>>): OriginatedSetting[] {
  const [preset, file, flag] = [leaves(layers.preset), leaves(layers.file), leaves(layers.flag)];
  return [...leaves(resolved)].map(([name, value]) => ({ name, value, origin: flag.has(name) ? "flag" : file.has(name) ? "file" : preset.has(name) ? "preset" : "default" }));
}
