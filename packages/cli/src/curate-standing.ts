import { curationStatus, loadSetting, replayDrama, type CurationConfig, type CurationStatus, type RunSummary, type StageKind, type StepLedger } from "@dramascope/curation";

/** So many steps without a good answer, for one reason. */
export interface StepTrouble {
  state: "failed" | "parked";
  code: string;
  n: number;
}

/** Why steps of a generation have no good answer, most frequent first; nothing without a generation. */
export async function stepTroubles(ledger: Pick<StepLedger, "stream">, generation: number | null): Promise<StepTrouble[]> {
  if (generation === null) return [];
  const troubles: StepTrouble[] = [];
  for (const state of ["parked", "failed"] as const) {
    const counts = new Map<string, number>();
    for await (const { code } of ledger.stream({ state, generation })) counts.set(code ?? "UNKNOWN", (counts.get(code ?? "UNKNOWN") ?? 0) + 1);
    troubles.push(...[...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).map(([code, n]) => ({ state, code, n })));
  }
  return troubles;
}

/** "12 parked: CONNECT_FAILED", "3 failed: 2 TRUNCATED, 1 EMPTY": a line for each state that there is. */
export function troubleLines(troubles: readonly StepTrouble[]): string[] {
  return [...Map.groupBy(troubles, ({ state }) => state)].map(([state, own]) => {
    const [first] = own;
    return own.length === 1 ? `${first!.n} ${state}: ${first!.code}` : `${own.reduce((sum, { n }) => sum + n, 0)} ${state}: ${own.map(({ code, n }) => `${n} ${code}`).join(", ")}`;
  });
}

/** Why a run that was not stopped has not reached everything; null when it has. */
export type Shortfall = "BUDGET_REACHED" | "STEPS_PARKED" | "STEPS_FAILED" | null;

export function shortfallOf({ stopped, parked, failed }: { stopped: RunSummary["stopped"]; parked: number; failed: number }): Shortfall {
  if (stopped === "budget") return "BUDGET_REACHED";
  if (parked > 0) return "STEPS_PARKED";
  return failed > 0 ? "STEPS_FAILED" : null;
}

const SHORTFALL_WORDS: Readonly<Record<NonNullable<Shortfall>, string>> = {
  BUDGET_REACHED: "BUDGET_REACHED: no call fits into budget.maxCost any more; the same command with a larger --max-cost goes on",
  STEPS_PARKED: "STEPS_PARKED: steps are put aside after too many failed attempts; dramascope curate retry frees them",
  STEPS_FAILED: "STEPS_FAILED: answers were of no use; dramascope curate report names them, dramascope curate retry asks anew",
};

/** What went wrong in a run, for people. */
export const shortfallLines = (code: Shortfall, troubles: readonly StepTrouble[]): string[] => [...(code === null ? [] : [SHORTFALL_WORDS[code]]), ...troubleLines(troubles)];

/** How a run, or all workers of one, ended. */
export interface Ending {
  /** Nothing is left to ask, of the kinds that the run was about. */
  isComplete: boolean;
  stopped: RunSummary["stopped"];
  calls: number;
  /** Money of the run. */
  cost: number;
  /** Money of the ledger. */
  spent: number;
  currency: string | null;
  dramasDecided: number;
  dramas: number;
}

/** One line about the end. "complete" stands only where every drama is decided. */
export function endingLine({ isComplete, stopped, calls, cost, spent, currency, dramasDecided, dramas }: Ending): string {
  const complete = dramasDecided < dramas ? "nothing is left to ask of these kinds of steps" : "complete";
  const money = (amount: number, of: string): string => (currency === null ? "" : `${of} ${amount.toFixed(4)} ${currency}`);
  const parts = [
    `${isComplete ? complete : "not complete"}: ${calls} ${calls === 1 ? "call" : "calls"}${money(cost, " for")}`,
    `${dramasDecided} of ${dramas} dramas decided`,
    ...(currency === null ? [] : [money(spent, "spent in all")]),
    ...(stopped === "signal" ? ["stopped, the same command goes on"] : []),
  ];
  return parts.join("; ");
}

/** How a curation stands by its ledger, with the dramas that have nothing left to ask. */
export async function curationStanding(ledger: StepLedger, config: CurationConfig, limit = Infinity): Promise<{ status: CurationStatus; troubles: StepTrouble[]; dramasDecided: number; dramas: number }> {
  const status = await curationStatus(ledger, config);
  const { generation } = status;
  let [dramas, dramasDecided] = [0, 0];
  if (generation !== null) {
    const setting = await loadSetting(config);
    const gates = await ledger.gates(generation);
    for await (const { drama, answers } of ledger.answersByDrama(generation)) {
      if (drama.split === "eval") continue;
      if (dramas >= limit) break;
      dramas++;
      if (replayDrama(setting, drama, answers, gates).missing.length === 0) dramasDecided++;
    }
  }
  return { status, troubles: await stepTroubles(ledger, generation), dramasDecided, dramas };
}

/** Whether nothing is left to ask of these kinds. */
export const nothingOpen = ({ counts }: CurationStatus, kinds: readonly StageKind[]): boolean => kinds.every((kind) => counts[kind].planned + counts[kind].leased + counts[kind].parked === 0);
