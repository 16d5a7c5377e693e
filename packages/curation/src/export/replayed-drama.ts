import type { StepRow } from "../ledger/step-types.ts";
import type { DramaOutcome } from "../pipeline/outcome.ts";
import type { CurationSetting } from "../pipeline/setting.ts";

/** A drama as the ledger knows it: what its answers come to, and the steps themselves. */
export interface ReplayedDrama {
  outcome: DramaOutcome;
  /** All steps of the drama in the generation, in any state. */
  answers: readonly StepRow[];
}

/** What all records of an export share. */
export interface ExportSetting extends CurationSetting {
  runId: string;
  generation: number;
}
