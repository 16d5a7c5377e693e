import type { CurationConfig } from "../config.ts";
import { CurationError } from "../errors.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import { findGeneration } from "../pipeline/generation.ts";
import { replayOutcome } from "../pipeline/replay-drama.ts";
import { loadSetting, runIdOf } from "../pipeline/setting.ts";
import type { ReplayedDramas } from "./plan-export.ts";
import type { ExportSetting } from "./replayed-drama.ts";
import { yieldFirst } from "./yield-first.ts";

/** A ledger's dramas, ready to be exported or reported. */
export interface OpenExport {
  setting: ExportSetting;
  source: ReplayedDramas;
}

/**
 * Finds the generation of the settings in a ledger, which has to be its newest: older ones have given the answers that they share away.
 *
 * @throws CurationError `GENERATION_UNKNOWN` when there is none, `GENERATION_OLD`.
 */
export async function openExport(ledger: StepLedger, config: CurationConfig): Promise<OpenExport> {
  const shared = await loadSetting(config);
  const known = await ledger.generations();
  const found = findGeneration(known, shared);
  if (!found) {
    const { length } = known;
    const has = length === 0 ? "it holds none at all" : `it holds ${length} other generation${length === 1 ? "" : "s"}`;
    throw new CurationError(`the ledger holds no answers under these prompts, model and sampling values: ${has}`, { code: "GENERATION_UNKNOWN", hint: "Start a run with these settings first, or give the settings that it was run with." });
  }
  const { generation } = found;
  const newest = known.at(-1)!.generation;
  if (generation !== newest) {
    const where = config.export.dir === undefined ? "" : `, such as one in ${config.export.dir}`;
    throw new CurationError(`generation ${generation} has given the answers that it shares with generation ${newest} away: what is left of it is not what it was`, {
      code: "GENERATION_OLD",
      hint: `What was exported of it before${where} is whole and stays. Give the settings of generation ${newest}, or run these with --new-generation: shared answers come back without being paid for again.`,
    });
  }
  const setting: ExportSetting = { ...shared, runId: runIdOf(shared), generation };
  const gates = await ledger.gates(generation);
  const replayed: ReplayedDramas = async function* () {
    for await (const { drama, answers } of ledger.answersByDrama(generation)) yield { outcome: replayOutcome(setting, drama, answers, gates), answers };
  };
  return { setting, source: config.split.mode === "yield-first" ? await yieldFirst(replayed, config.split.sftSize) : replayed };
}
