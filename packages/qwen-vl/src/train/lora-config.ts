import { QwenVlError } from "../errors.ts";
import { badOption } from "../options.ts";
import type { LoraConfig } from "../adapter-types.ts";
import { hubName } from "../weight-names.ts";
import type { Weights } from "../weights.ts";
import { DEFAULT_TARGETS } from "./adapter-files.ts";
import { parseModulePattern } from "./module-pattern.ts";

/** Modules that can carry an adapter: the linears of layers, blocks and merger. */
export function injectableModules(weights: Weights): string[] {
  return weights.names.flatMap((name) => {
    const match = /^(model\.(?:language_model\.layers|visual\.(?:blocks|merger))\..*)\.weight$/u.exec(name);
    return match !== null && weights.shape(name).length === 2 ? [match[1]!] : [];
  });
}

/** Larger than any rank that makes sense. */
const MOST_RANK = 2 ** 16;
/** Characters of all keys of a pattern that are no plain names: each is tried on every module. */
const MOST_CHARACTERS = 4000;

const isName = (key: string): boolean => /^[\w.-]+$/u.test(key);
const endsIn = (suffix: string) => (module: string): boolean => module === suffix || module.endsWith(`.${suffix}`);

/** Modules that an option names: by suffixes, or by an expression for the whole name. */
function selects(select: string | readonly string[], field: string): (module: string) => boolean {
  if (typeof select === "string") {
    const pattern = parseModulePattern(select, field);
    return (module) => pattern(module);
  }
  const suffixes = select.map(endsIn);
  return (module) => suffixes.some((fits) => fits(module));
}

/** Modules that a key of a pattern names, as a suffix in whole parts; old names fit too, for the files of an adapter may hold them. */
function keyFits(key: string, field: string): (module: string) => boolean {
  if (isName(key)) {
    const fits = endsIn(key);
    return (module) => fits(module) || fits(hubName(module));
  }
  const pattern = parseModulePattern(key, `a key of ${field}`);
  const starts = (name: string): number[] => [0, ...Array.from(name.matchAll(/\./gu), ({ index }) => index + 1)];
  return (module) => [module, hubName(module)].some((name) => pattern(name, starts(name)));
}

/** The checked values of a pattern in its order: the first key that fits a module counts. */
function patternOf(config: LoraConfig, field: "rankPattern" | "alphaPattern"): { key: string; value: number; fits: (module: string) => boolean }[] {
  const entries = Object.entries(config[field] ?? {});
  const characters = entries.reduce((sum, [key]) => sum + (isName(key) ? 0 : key.length), 0);
  if (characters > MOST_CHARACTERS) throw new QwenVlError(`the expressions of ${field} have ${characters} characters, at most ${MOST_CHARACTERS} are read`, { code: "ADAPTER_PATTERN", hint: "Name modules by their suffixes." });
  return entries.map(([key, value]) => {
    if (field === "rankPattern") checkRank(value, `${field} of ${JSON.stringify(key)}`);
    else checkAlpha(value, `${field} of ${JSON.stringify(key)}`);
    return { key, value, fits: keyFits(key, field) };
  });
}

function checkRank(value: number, name: string): void {
  if (!Number.isInteger(value) || value < 1 || value > MOST_RANK) badOption(name, value, `an integer from 1 to ${MOST_RANK}`);
}

function checkAlpha(value: number, name: string): void {
  if (!(value > 0 && Number.isFinite(value))) badOption(name, value, "a number above 0");
}

/** Rank and scale of modules: alpha / r, or alpha / √r. */
export interface LoraSizes {
  rank: (module: string) => number;
  scale: (module: string) => number;
}

/** Reads and checks a configuration; with `modules`, also that every key of its patterns names one of them. */
export function sizesOf(config: LoraConfig, modules?: readonly string[]): LoraSizes {
  const { r, alpha, dropout = 0 } = config;
  checkRank(r, "LoRA rank r");
  checkAlpha(alpha, "LoRA alpha");
  if (!(dropout >= 0 && dropout < 1)) throw new QwenVlError(`LoRA dropout must be at least 0 and below 1, got ${dropout}`, { code: "BAD_OPTION", hint: "It is the share of inputs that training drops, such as 0.05." });
  const [ranks, alphas] = [patternOf(config, "rankPattern"), patternOf(config, "alphaPattern")];
  const idle = modules && [...ranks, ...alphas].find(({ fits }) => !modules.some(fits));
  if (idle !== undefined) throw new QwenVlError(`the pattern ${JSON.stringify(idle.key)} names no module of the adapter`, { code: "ADAPTER_TARGETS", hint: "Keys of rankPattern and alphaPattern are suffixes of module names such as q_proj, or expressions for them." });
  const rank = (module: string): number => ranks.find(({ fits }) => fits(module))?.value ?? r;
  const scale = (module: string): number => (alphas.find(({ fits }) => fits(module))?.value ?? alpha) / (config.rslora === true ? Math.sqrt(rank(module)) : rank(module));
  return { rank, scale };
}

/** Linears that cannot carry an adapter though they look like it. */
const NOT_SERVED: readonly string[] = ["lm_head", "model.language_model.embed_tokens"];

/** Linears that a configuration puts an adapter on. */
export function targetModules(config: LoraConfig, weights: Weights): string[] {
  const { targetModules: targets = DEFAULT_TARGETS, excludeModules } = config;
  const refuse = (what: string): never => {
    throw new QwenVlError(`targetModules ${what}`, { code: "ADAPTER_TARGETS", hint: "Give suffixes such as q_proj, or a regular expression for whole module names." });
  };
  const wanted = selects(targets, "targetModules");
  const left = excludeModules === undefined ? () => false : selects(excludeModules, "excludeModules");
  const isChosen = (module: string): boolean => wanted(module) && !left(module);
  const unserved = NOT_SERVED.find(isChosen);
  if (unserved !== undefined) refuse(`${JSON.stringify(targets)} name ${unserved}, which cannot carry an adapter`);
  const all = injectableModules(weights);
  const idle = typeof targets === "string" ? undefined : targets.find((suffix) => !all.some(endsIn(suffix)));
  if (idle !== undefined) refuse(`${JSON.stringify(idle)} matches no linear of the model`);
  const modules = all.filter(isChosen);
  if (modules.length === 0) refuse(`${JSON.stringify(targets)} match no linear of the model`);
  return modules;
}
