import type { Quality } from "@dramascope/schema";
import type { DramaRecord } from "../ledger/drama-types.ts";
import type { StageKind, StepSpec } from "../ledger/step-types.ts";
import type { Preflag } from "../preflags.ts";

/** How a round ended: `mismatch` names another class (rule 1), `rejected` was not accepted on a second look (rules 2 and 3), `no-verdict` had no usable second look. */
export type RoundVerdict = "valid" | "mismatch" | "rejected" | "no-verdict" | "unusable" | "blocked";

/** One sampling round that has ended. */
export interface RoundOutcome {
  /** 1-based. */
  round: number;
  temperature: number;
  /** Class that the answer names; null where it could not be read. */
  predicted: Quality | null;
  verdict: RoundVerdict;
  /** Why it is unusable, blocked or without a verdict, or `PREFLAG` where local flags alone decided. */
  code?: string;
  /** Chain of thought, clean of invisible marks; null where it could not be read. */
  think: string | null;
  /** The filter's words in its first readable verdict. */
  reason?: string;
  /** Readable verdicts of the filter, in the order of its votes. */
  votes: boolean[];
  /** What local rules remarked. */
  preflags: Preflag[];
  /** Model that the provider named for the sample. */
  modelReturned: string | null;
  /** Keys of the sample and of its filter's votes. */
  stepKeys: string[];
}

/** Where a drama stands: accepted, without a valid round, without a caption (refused, or not usable), or not at its end. */
export type DramaDecision = "kept" | "no-valid-round" | "blocked" | "no-caption" | "pending";

/** A step whose answer was of no use. */
export interface StepProblem {
  kind: StageKind;
  /** 0 where there are no rounds. */
  round: number;
  code: string;
}

/** What is known about a drama. */
export interface DramaOutcome {
  record: DramaRecord;
  decision: DramaDecision;
  /** Plot summary, clean of invisible marks. */
  caption: string | null;
  /** Comments labelled as being about the drama, most liked first. */
  comments: string[];
  /** Comments that got no label although they were asked for twice, or whose labels were of no use. */
  unresolved: number;
  /** Rounds that have ended, in order. */
  rounds: RoundOutcome[];
  /** Those of them that were accepted. */
  valid: RoundOutcome[];
  /** Those of `valid` that are kept, by seeded hash, in that order. */
  selected: RoundOutcome[];
  problems: StepProblem[];
  /** Keys of all steps that have ended and count, in the order in which they are asked. */
  stepKeys: string[];
  /** Keys of steps that have ended and no longer belong to the drama, for example after its class was changed. */
  unused: string[];
  /** A round waits for its class, see `rounds.maxCostPerNewDrama`. */
  waitsForClass: boolean;
}

/** Outcome of a replay, and what can be asked now. */
export interface Replay {
  outcome: DramaOutcome;
  /** Steps that can be asked and have not ended, planned and parked ones included. */
  missing: StepSpec[];
}
