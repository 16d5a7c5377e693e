import { STAGE_KINDS, STEP_STATES, type StageKind, type StepState } from "../ledger/step-types.ts";
import { CurationError } from "../errors.ts";
import { sumOf, type ByClass } from "./class-balance.ts";
import type { ReportTally } from "./report-tally.ts";

/** A ledger's steps by kind and state. */
export type StepCounts = Record<StageKind, Record<StepState, number>>;

const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);

/**
 * Compares every sum that a report states with another way to get at it: steps with the ledger's own counts, rounds with steps, matrix with rounds, funnel with sets.
 *
 * @throws CurationError `REPORT_MISMATCH` naming the first two numbers that should be equal and are not.
 */
export function checkReport(tally: ReportTally, counts: StepCounts, after: ByClass): void {
  const same = (what: string, one: number, other: number): void => {
    if (one !== other) {
      throw new CurationError(`the report does not add up: ${what}, ${one} and ${other}`, { code: "REPORT_MISMATCH", hint: "Report again when no run is going on. If it stays, the ledger was changed by something else than this program, or this is a fault of it: please report it." });
    }
  };
  const { dramas, sft, grpo, comments, verdicts, rounds, confusion, blocked, blockedByClass, steps, unusedSteps, openRounds, sftRecords } = tally;
  for (const kind of STAGE_KINDS) for (const state of STEP_STATES) same(`${state} steps of kind ${kind}, by drama and in the ledger`, steps[kind][state], counts[kind][state]);

  const ended = (kind: StageKind): number => steps[kind].done + steps[kind].failed + steps[kind].blocked;
  const endedRounds = sum(Object.values(verdicts));
  same("ended rounds by verdict and by number", endedRounds, sum(rounds.map(({ n }) => n)));
  const agreed = sum(rounds.map((one) => one.agreed));
  same("readable answers by round and in the matrix", sum(rounds.map(({ readable }) => readable)), sum(confusion.allRounds.map(sumOf)));
  same("readable answers of round 1 and in its matrix", rounds[0]?.readable ?? 0, sum(confusion.firstRound.map(sumOf)));
  same("answers with the known class and the matrix's diagonal", agreed, sum(confusion.allRounds.map((row, i) => row[i]!)));
  same("answers with the known class and what the filter made of them", agreed, verdicts.valid + verdicts.rejected + verdicts["no-verdict"]);
  same("readable answers, with the known class or another", sum(rounds.map(({ readable }) => readable)), agreed + verdicts.mismatch);
  same("valid rounds by verdict and by number", verdicts.valid, sum(rounds.map(({ valid }) => valid)));
  same("refused steps by code and by class", sum(blocked.map(({ n }) => n)), sumOf(blockedByClass));

  // Steps that no longer count are the only ones that no round or refusal accounts for.
  const unaccounted = ended("sample") - endedRounds - openRounds;
  if (unaccounted < 0 || unaccounted > unusedSteps) same("ended sampling steps and rounds", ended("sample"), endedRounds + openRounds);
  const refusals = sum(STAGE_KINDS.map((kind) => steps[kind].blocked)) - sumOf(blockedByClass);
  if (refusals < 0 || refusals > unusedSteps) same("refused steps by kind and by code", sum(STAGE_KINDS.map((kind) => steps[kind].blocked)), sumOf(blockedByClass));

  same("chosen comments and what became of them", comments.chosen, comments.kept + comments.dropped + comments.unresolved + comments.waiting);
  same("SFT dramas by class and in the funnel", sumOf(dramas.sft), sft[0]!.count);
  same("GRPO dramas by class and in the funnel", sumOf(dramas.grpo), grpo[0]!.count);
  for (const { name, count, byClass } of [...sft, ...grpo]) same(`dramas at the stage ${name}, all and by class`, count, sumOf(byClass));
  for (const [i, records] of sftRecords.entries()) same(`SFT records of class ${i + 1}, found and kept`, records, after[i]!);
}
