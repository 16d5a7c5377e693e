import type { CurationConfig } from "../config.ts";
import { CurationError } from "../errors.ts";
import type { StepLedger } from "../ledger/types.ts";
import { findGeneration } from "../pipeline/generation.ts";
import { replayDrama } from "../pipeline/replay-drama.ts";
import { loadSetting, runIdOf } from "../pipeline/setting.ts";
import type { DramaSource } from "./plan-export.ts";
import type { ExportSetting } from "./replayed-drama.ts";
import { yieldFirst } from "./yield-first.ts";

/** A ledger's dramas, ready to be exported or reported. */
export interface OpenExport {
  setting: ExportSetting;
  source: DramaSource;
}

/**
 * Finds the generation of the settings in a ledger.
 *
 * @throws CurationError `GENERATION_UNKNOWN` when there is none.
 */
export async function openExport(ledger: StepLedger, config: CurationConfig): Promise<OpenExport> {
  const shared = await loadSetting(config);
  const found = await findGeneration(ledger, shared);
  if (!found) {
    const { length } = await ledger.generations();
    const has = length === 0 ? "it holds none at all" : `it holds ${length} other generation${length === 1 ? "" : "s"}`;
    throw new CurationError(`the ledger holds no answers under these prompts, model and sampling values: ${has}`, { code: "GENERATION_UNKNOWN", hint: "Start a run with these settings first, or give the settings that it was run with." });
  }
  const { generation } = found;
  const setting: ExportSetting = { ...shared, runId: runIdOf(shared), generation };
  const gates = await ledger.gates(generation);
  const replayed: DramaSource = async function* () {
    for await (const { drama, answers } of ledger.answersByDrama(generation)) yield { outcome: replayDrama(setting, drama, answers, gates).outcome, answers };
  };
  return { setting, source: config.split.mode === "yield-first" ? await yieldFirst(replayed, config.split.sftSize) : replayed };
}
