import { canonicalJson } from "@dramascope/schema";
import { CurationError } from "../errors.ts";
import type { Generation, Json, StepLedger } from "../ledger/types.ts";
import { generationIdentity, generationSettings, type CurationSetting } from "./setting.ts";

const isRecord = (value: Json | undefined): value is { readonly [name: string]: Json } => typeof value === "object" && value !== null && !Array.isArray(value);

/** Names of settings that differ, with dots, in order. */
function differences(a: Json | undefined, b: Json | undefined, place = ""): string[] {
  if (isRecord(a) && isRecord(b)) return [...new Set([...Object.keys(a), ...Object.keys(b)])].sort().flatMap((name) => differences(a[name], b[name], place === "" ? name : `${place}.${name}`));
  return a !== undefined && b !== undefined && canonicalJson(a) === canonicalJson(b) ? [] : [place];
}

/** Whether a generation was made under an identity; one that came back has a number behind it. */
const isOf = (identity: string, generation: Generation): boolean => generation.identity === identity || generation.identity.startsWith(`${identity}.`);

/** The newest generation of a ledger that was made under the same prompts, model and sampling; undefined when there is none. */
export async function findGeneration(ledger: Pick<StepLedger, "generations">, setting: CurationSetting): Promise<Generation | undefined> {
  const identity = generationIdentity(setting);
  return (await ledger.generations()).findLast((one) => isOf(identity, one));
}

/**
 * The generation to work on: that of the settings, which has to be the newest one unless a new one is wanted. Answers that a new generation would ask for in the same words move to it.
 *
 * @throws CurationError `GENERATION_CHANGED` naming the settings that make the difference.
 */
export async function openGeneration(ledger: StepLedger, setting: CurationSetting, isNewWanted: boolean): Promise<Generation> {
  const identity = generationIdentity(setting);
  const settings = generationSettings(setting);
  const known = await ledger.generations();
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
