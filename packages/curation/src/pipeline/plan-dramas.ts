import type { Gate } from "../ledger/generation-types.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import type { StepSpec } from "../ledger/step-types.ts";
import { replayDrama } from "./replay-drama.ts";
import type { CurationSetting } from "./setting.ts";

/** Which dramas a run is about. */
export interface Scope {
  /** Default all of the ledger. */
  ids?: ReadonlySet<string>;
  /** So many, the first in the order of the export. Default all. */
  limit?: number;
  /** Ends planning where it is; what is planned stays. */
  signal?: AbortSignal;
}

/** How far dramas have come. */
export interface DramaProgress {
  /** Dramas that anything is asked about. */
  total: number;
  /** Of them, those with nothing left to ask. */
  decided: number;
  /** Steps that were planned just now. */
  added: number;
}

/** Steps of one write. */
const BATCH = 2000;

/**
 * Plans whatever can be asked of every drama and is not planned yet. Steps of another generation may come along with their answers, from which more follows: hence as many passes as
 * it takes.
 */
export async function planDramas(setting: CurationSetting, ledger: StepLedger, generation: number, gates: readonly Gate[], { ids, limit = Infinity, signal }: Scope): Promise<DramaProgress> {
  let all = 0;
  for (;;) {
    const progress = { total: 0, decided: 0 };
    let added = 0;
    let batch: StepSpec[] = [];
    for await (const { drama, answers } of ledger.answersByDrama(generation)) {
      if (signal?.aborted) return { ...progress, added: all };
      if (drama.split === "eval" || ids?.has(drama.dramaId) === false) continue;
      if (progress.total >= limit) break;
      progress.total++;
      const known = new Set(answers.map(({ key }) => key));
      const { missing } = replayDrama(setting, drama, answers, gates);
      if (missing.length === 0) progress.decided++;
      batch.push(...missing.filter(({ key }) => !known.has(key)));
      if (batch.length < BATCH) continue;
      added += await ledger.plan(batch, generation);
      batch = [];
    }
    added += await ledger.plan(batch, generation);
    all += added;
    if (added === 0) return { ...progress, added: all };
  }
}
