import type { RoundVerdict } from "@dramascope/schema";
import type { DramaRecord } from "../ledger/drama-types.ts";
import { STAGE_KINDS, STEP_STATES, type StageKind, type StepState } from "../ledger/step-types.ts";
import type { DramaOutcome, RoundOutcome } from "../pipeline/outcome.ts";
import { noneOfAnyClass, type ByClass } from "./class-balance.ts";
import { createExamplePicker, excerpt } from "./example-picker.ts";
import { createFunnelCounter } from "./funnel-counter.ts";
import type { LeftOutReason } from "./left-out.ts";
import type { PlannedDrama } from "./plan-export.ts";
import type { Confusion, CurationReport, ReportExample, RoundStatistics } from "./report-types.ts";
import { SortedCounts } from "./sorted-counts.ts";

/** Options of a report. */
export interface ReportOptions {
  /** Examples for each reason, at most. Default 3. */
  examples?: number;
  /** Seed of the choice of examples. Default `examples-1`. */
  seed?: string;
  /** Whether examples of dropped comments, and of unreadable answers about comments, are in it: they are the words of people. Default `without`. */
  comments?: "without" | "include";
}

/** What only dramas can tell; the ledger's sums are added later. */
export type ReportTally = Omit<CurationReport, "format" | "version" | "runId" | "generation" | "model" | "isMoving" | "balance" | "cost"> & {
  /** Cost of answers about SFT dramas, and all SFT records, by class. */
  sftCost: ByClass;
  sftRecords: ByClass;
  /** Dramas whose last round is not over. */
  openRounds: number;
};

const noSteps = (): Record<StageKind, Record<StepState, number>> =>
  Object.fromEntries(STAGE_KINDS.map((kind) => [kind, Object.fromEntries(STEP_STATES.map((state) => [state, 0]))])) as Record<StageKind, Record<StepState, number>>;
const noConfusion = (): Confusion => [noneOfAnyClass(), noneOfAnyClass(), noneOfAnyClass(), noneOfAnyClass(), noneOfAnyClass()];

/** Counts dramas one after the other, in memory that does not grow with them. */
export function createReportTally(options: ReportOptions = {}): { add(planned: PlannedDrama): void; finish(): ReportTally } {
  const { examples = 3, seed = "examples-1", comments: commentsRule = "without" } = options;
  const [sft, grpo] = [createFunnelCounter("sft"), createFunnelCounter("grpo")];
  const picker = createExamplePicker(examples, seed);
  const dramas = { eval: noneOfAnyClass(), sft: noneOfAnyClass(), grpo: noneOfAnyClass() };
  const comments = { chosen: 0, kept: 0, dropped: 0, unresolved: 0, waiting: 0 };
  const verdicts: Record<RoundVerdict["verdict"], number> = { valid: 0, mismatch: 0, rejected: 0, "no-verdict": 0, unusable: 0, blocked: 0 };
  const rounds: RoundStatistics[] = [];
  const confusion = { allRounds: noConfusion(), firstRound: noConfusion() };
  const blocked = new SortedCounts<{ kind: StageKind; code: string; genre: string | null }>();
  const blockedByClass = noneOfAnyClass();
  const unusable = new SortedCounts<{ kind: StageKind; code: string }>();
  const preflags = new SortedCounts<{ rule: string }>();
  const steps = noSteps();
  const leftOut = new Map<LeftOutReason, number>();
  const [sftCost, sftRecords] = [noneOfAnyClass(), noneOfAnyClass()];
  let [unusedSteps, openRounds] = [0, 0];

  const example = ({ dramaId, quality }: DramaRecord, round: number): ReportExample => ({ dramaId, quality, round, predicted: null, text: null, remark: null });

  const addRound = (outcome: DramaOutcome, one: RoundOutcome): void => {
    const { round, verdict, predicted, think, reason } = one;
    const truth = outcome.record.quality;
    verdicts[verdict]++;
    while (rounds.length < round) rounds.push({ round: rounds.length + 1, n: 0, readable: 0, agreed: 0, valid: 0 });
    const own = rounds[round - 1]!;
    own.n++;
    if (predicted !== null) {
      own.readable++;
      confusion.allRounds[truth - 1]![predicted - 1]!++;
      if (round === 1) confusion.firstRound[truth - 1]![predicted - 1]!++;
      if (predicted === truth) own.agreed++;
    }
    if (verdict === "valid") own.valid++;
    for (const rule of one.preflags) preflags.add({ rule });
    if (verdict === "mismatch" || verdict === "rejected" || verdict === "no-verdict") {
      picker.offer(verdict, `${outcome.record.dramaId}\n${round}`, () => ({ ...example(outcome.record, round), predicted, text: excerpt(think), remark: excerpt(reason) }));
    }
  };

  /** Steps as they are, and refusals and unusable answers among those that count. */
  const addSteps = ({ outcome, answers }: PlannedDrama["replayed"]): void => {
    const { record, problems, stepKeys, unused } = outcome;
    const counting = new Set(stepKeys);
    const refusals = new Map<string, number>();
    const place = (kind: StageKind, round: number, code: string): string => JSON.stringify([kind, round, code]);
    for (const { key, kind, round, state, code, cost } of answers) {
      steps[kind][state]++;
      if (record.split === "sft") sftCost[record.quality - 1]! += cost;
      if (state !== "blocked" || !counting.has(key)) continue;
      const name = code ?? "BLOCKED";
      blocked.add({ kind, code: name, genre: record.drama.genre ?? null });
      blockedByClass[record.quality - 1]!++;
      refusals.set(place(kind, round, name), (refusals.get(place(kind, round, name)) ?? 0) + 1);
      picker.offer(`blocked ${name}`, `${record.dramaId}\n${key}`, () => example(record, round));
    }
    for (const { kind, round, code } of problems) {
      const open = refusals.get(place(kind, round, code)) ?? 0;
      refusals.set(place(kind, round, code), open - 1);
      if (open > 0) continue;
      unusable.add({ kind, code });
      const raw = kind === "comments" && commentsRule === "without" ? null : answers.find((row) => row.kind === kind && row.round === round && row.content !== null && counting.has(row.key))?.content;
      picker.offer(`unusable ${code}`, `${record.dramaId}\n${kind}\n${round}`, () => ({ ...example(record, round), text: excerpt(raw) }));
    }
    unusedSteps += unused.length;
    const samples = answers.filter(({ key, kind }) => kind === "sample" && counting.has(key)).length;
    openRounds += samples - outcome.rounds.length;
  };

  const addComments = ({ record, comments: kept, unresolved, decision }: DramaOutcome): void => {
    if (record.split === "eval") return;
    const chosen = record.drama.comments;
    const isOver = decision !== "pending";
    comments.chosen += chosen.length;
    comments.kept += kept.length;
    comments[isOver ? "unresolved" : "waiting"] += unresolved;
    comments.dropped += chosen.length - kept.length - unresolved;
    if (commentsRule === "without" || !isOver) return;
    const about = new Set(kept);
    for (const [i, { text }] of chosen.entries()) if (!about.has(text)) picker.offer("comment not kept", `${record.dramaId}\n${i}`, () => ({ ...example(record, 0), text: excerpt(text) }));
  };

  return {
    add: ({ replayed, found }) => {
      const { outcome } = replayed;
      const { split, quality } = outcome.record;
      dramas[split][quality - 1]!++;
      if (split === "sft") sft.add(outcome, found.records.length);
      if (split === "grpo") grpo.add(outcome, found.records.length);
      for (const reason of found.leftOut) leftOut.set(reason, (leftOut.get(reason) ?? 0) + 1);
      if (split === "sft") sftRecords[quality - 1]! += found.records.length;
      for (const round of outcome.rounds) addRound(outcome, round);
      addSteps(replayed);
      addComments(outcome);
    },
    finish: () => ({
      dramas, sft: sft.stages, grpo: grpo.stages, comments, verdicts, rounds, confusion, blocked: blocked.list(), blockedByClass, unusable: unusable.list(), preflags: preflags.list(), steps, unusedSteps,
      leftOut: Object.fromEntries([...leftOut].sort(([a], [b]) => (a < b ? -1 : 1))), examples: picker.list(), sftCost, sftRecords, openRounds,
    }),
  };
}
