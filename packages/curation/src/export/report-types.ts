import type { Quality, RoundVerdict } from "@dramascope/schema";
import type { Spending } from "../ledger/spending.ts";
import type { StageKind, StepState } from "../ledger/step-types.ts";
import type { ByClass } from "./class-balance.ts";
import type { LeftOutReason } from "./left-out.ts";

/** How many dramas came as far as a stage; each stage counts only those that passed all before it. */
export interface FunnelStage {
  name: string;
  count: number;
  /** Of each class 1 … 5. */
  byClass: ByClass;
}

/** counts[truth − 1][predicted − 1]. */
export type Confusion = [ByClass, ByClass, ByClass, ByClass, ByClass];

/** What happened in one sampling round over all dramas. */
export interface RoundStatistics {
  /** 1-based. */
  round: number;
  /** Dramas that were sampled in it. */
  n: number;
  /** Answers that could be read. */
  readable: number;
  /** Of those, answers with the known class (rule 1). */
  agreed: number;
  /** Of those, accepted by the filter (rules 2 and 3). */
  valid: number;
}

/** An example for a reason why something was dropped. */
export interface ReportExample {
  dramaId: string;
  quality: Quality;
  /** Sampling round; 0 where there are none. */
  round: number;
  /** Class that the teacher gave; null when unreadable or none was asked for. */
  predicted: Quality | null;
  /** Chain of thought, or the text that could not be read, or the comment; cut to 600 characters, null where there is none. */
  text: string | null;
  /** The filter's words, cut alike; null where there are none. */
  remark: string | null;
}

/** What a curation has come to, from its ledger. */
export interface CurationReport {
  format: "dramascope.curation-report";
  version: 1;
  runId: string;
  generation: number;
  /** Teacher model asked for. */
  model: string;
  /** The ledger changed while it was read: the figures are of no single moment, and could not be compared with the ledger's own counts. */
  isMoving: boolean;
  /** Dramas of each class by split. */
  dramas: { eval: ByClass; sft: ByClass; grpo: ByClass };
  /** SFT dramas: dramas, captioned, sampled, parsed, rule 1, rules 2 and 3, selected, exported. */
  sft: FunnelStage[];
  /** GRPO dramas: dramas, captioned, answered (nothing is missing), exported, with comments. */
  grpo: FunnelStage[];
  /** Comments of dramas whose comments were asked about or wait to be. `chosen` is the sum of the others. */
  comments: { chosen: number; kept: number; dropped: number; unresolved: number; waiting: number };
  /** Sampling rounds by their end. */
  verdicts: Record<RoundVerdict["verdict"], number>;
  /** By number of the round. */
  rounds: RoundStatistics[];
  /** Truth against the teacher's class, of readable answers. */
  confusion: { allRounds: Confusion; firstRound: Confusion };
  /** Refusals; `genre` is null where none is known. Most frequent first. */
  blocked: { kind: StageKind; code: string; genre: string | null; n: number }[];
  /** Refusals of each class. */
  blockedByClass: ByClass;
  /** Answers of no use. Most frequent first. */
  unusable: { kind: StageKind; code: string; n: number }[];
  /** Local remarks on readable answers, by rule. Most frequent first. */
  preflags: { rule: string; n: number }[];
  /** Steps by kind and state; equal to the ledger's own counts. */
  steps: Record<StageKind, Record<StepState, number>>;
  /** Ended steps that no longer belong to a drama, for example after its class was changed. */
  unusedSteps: number;
  /** SFT records of each class. */
  balance: { mode: "none" | "cap" | "weight"; before: ByClass; after: ByClass };
  /** As in the export's manifest. */
  leftOut: Partial<Record<LeftOutReason, number>>;
  /** Money. Amounts in `currency`; all 0 without prices. */
  cost: {
    currency: string | null;
    /** Known, unknown and in flight together. */
    spent: number;
    spending: Spending;
    /** Attempts beyond the first of each step. */
    retries: number;
    /** Cost of the generation's answers for each SFT record; null without any. */
    perSftRecord: number | null;
    /** The same by class 1 … 5: cost of answers about its SFT dramas. */
    byClass: { quality: Quality; cost: number; records: number; perRecord: number | null }[];
  };
  /** Up to a few examples for each reason. */
  examples: { reason: string; examples: ReportExample[] }[];
}
