import type { CurationConfig } from "../config.ts";
import type { Spending } from "../ledger/spending.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import { STAGE_KINDS, type StageKind, type StepState } from "../ledger/step-types.ts";
import { findGeneration } from "./generation.ts";
import { loadSetting, runIdOf } from "./setting.ts";

/** How a curation stands. */
export interface CurationStatus {
  runId: string;
  /** Newest generation of these settings; null when nothing was asked under them. */
  generation: number | null;
  /** Steps of that generation by kind and state. */
  counts: Record<StageKind, Record<StepState, number>>;
  /** Steps that can be asked or are being asked. */
  open: number;
  /** Steps that wait for `retry`. */
  parked: number;
  /** Steps whose answer was of no use. */
  failed: number;
  /** Money of the whole ledger, all generations. */
  spending: Spending;
  /** Null without prices. */
  currency: string | null;
  /** Null without a budget. */
  budget: number | null;
}

/** How a curation stands, from the ledger alone: it may be read while a run is on. */
export async function curationStatus(ledger: StepLedger, config: CurationConfig): Promise<CurationStatus> {
  const setting = await loadSetting(config);
  const generation = findGeneration(await ledger.generations(), setting);
  // A generation that does not exist has no steps.
  const counts = await ledger.counts(generation?.generation ?? -1);
  const sum = (...states: StepState[]): number => STAGE_KINDS.reduce((total, kind) => total + states.reduce((some, state) => some + counts[kind][state], 0), 0);
  return {
    runId: runIdOf(setting),
    generation: generation?.generation ?? null,
    counts,
    open: sum("planned", "leased"),
    parked: sum("parked"),
    failed: sum("failed"),
    spending: await ledger.spending(),
    currency: config.teacher.prices?.currency ?? null,
    budget: config.budget.maxCost ?? null,
  };
}
