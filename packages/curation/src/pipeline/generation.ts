import { canonicalJson } from "@dramascope/schema";
import { CurationError } from "../errors.ts";
import type { Generation, Json } from "../ledger/generation-types.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import { generationIdentity, generationSettings, type CurationSetting } from "./setting.ts";

const isRecord = (value: Json | undefined): value is { readonly [name: string]: Json } => typeof value === "object" && value !== null && !Array.isArray(value);

/** Names of settings that differ, with dots, in order. */
function differences(a: Json | undefined, b: Json | undefined, place = ""): string[] {
  if (isRecord(a) && isRecord(b)) return [...new Set([...Object.keys(a), ...Object.keys(b)])].sort().flatMap((name) => differences(a[name], b[name], place === "" ? name : `${place}.${name}`));
  return a !== undefined && b !== undefined && canonicalJson(a) === canonicalJson(b) ? [] : [place];
}

/** Whether a generation was made under an identity; one that came back has a number behind it. */
const isOf = (identity: string, generation: Generation): boolean => generation.identity === identity || generation.identity.startsWith(`${identity}.`);

/** Dramas keep the places that they were given: another seed would stand in records that it has nothing to do with. */
function assertSameSeed(known: readonly Generation[], { config }: CurationSetting): void {
  const [first] = known;
  const seed = first && isRecord(first.settings) ? first.settings["splitSeed"] : undefined;
  if (seed === undefined || seed === config.split.seed) return;
  throw new CurationError(`dramas were placed by the seed ${JSON.stringify(seed)}, and split.seed is ${JSON.stringify(config.split.seed)} now`, {
    code: "SPLIT_SEED_CHANGED",
    hint: "Set split.seed back. For other places begin a new ledger: those that were given stay.",
  });
}

/**
 * The newest of a ledger's generations that was made under the same prompts, model and sampling; undefined when there is none.
 *
 * @throws CurationError `SPLIT_SEED_CHANGED` naming both seeds.
 */
export function findGeneration(known: readonly Generation[], setting: CurationSetting): Generation | undefined {
  const identity = generationIdentity(setting);
  assertSameSeed(known, setting);
  return known.findLast((one) => isOf(identity, one));
}

/**
 * The generation to work on: that of the settings, which has to be the newest one unless a new one is wanted. Answers that a new generation would ask for in the same words move to it.
 *
 * @throws CurationError `GENERATION_CHANGED` naming the settings that make the difference, `SPLIT_SEED_CHANGED` naming both seeds.
 */
export async function openGeneration(ledger: StepLedger, setting: CurationSetting, isNewWanted: boolean): Promise<Generation> {
  const identity = generationIdentity(setting);
  // The seed makes no other answers, but has to be known.
  const settings = { ...generationSettings(setting), splitSeed: setting.config.split.seed };
  const known = await ledger.generations();
  assertSameSeed(known, setting);
  const newest = known.at(-1);
  if (newest === undefined) return ledger.openGeneration(identity, settings);
  if (isOf(identity, newest)) return newest;
  if (!isNewWanted) {
    throw new CurationError(`other settings than those of generation ${newest.generation} would make other answers: ${differences(newest.settings, settings).join(", ")}`, {
      code: "GENERATION_CHANGED",
      hint: "Set them back to go on, or run with --new-generation to ask again; the old answers stay.",
    });
  }
  const isBack = known.some((one) => isOf(identity, one));
  return ledger.openGeneration(isBack ? `${identity}.${known.length + 1}` : identity, settings);
}
