import type { DramaRecord } from "./drama-types.ts";

/** Kinds of paid steps, in the order in which a drama meets them. */
export const STAGE_KINDS = ["caption", "sample", "filter", "comments"] as const;
/** Kind of a paid step. */
export type StageKind = (typeof STAGE_KINDS)[number];

/** States of a step. */
export const STEP_STATES = ["planned", "leased", "done", "failed", "blocked", "parked"] as const;
/**
 * Where a step stands. `done`, `failed` (an answer of no use, its code and raw text kept) and `blocked` (refused for its content) have ended; `parked` waits for a time or for
 * `StepLedger.free`.
 */
export type StepState = (typeof STEP_STATES)[number];

/** A step to be asked. */
export interface StepSpec {
  /** SHA-256 of everything that could change the answer, in hex. */
  key: string;
  /** What is asked. */
  kind: StageKind;
  /** Id of a drama that the ledger holds. */
  drama: string;
  /** Sampling round from 1; 0 where there are none. */
  round: number;
  /** Vote of a filter or ask of the comments, from 1; else 1. */
  part: number;
}

/** A step as it is kept. */
export interface StepRow extends StepSpec {
  /** Number of the generation; 0 when the drama's content has changed since and no generation has asked for the step again. */
  generation: number;
  /** Where the step stands. */
  state: StepState;
  /** The teacher's text where there is any, also of no use; null before the end. */
  content: string | null;
  /** Why there is no good answer; null otherwise. */
  code: string | null;
  /** The provider's word for how the text ended. */
  finish: string | null;
  /** Model that the provider named. */
  model: string | null;
  /** Attempts of all asks together. */
  attempts: number;
  /** Money of all asks together. */
  cost: number;
  /** Number of the last lease, from 1; 0 before the first. */
  fence: number;
  /** Holder of the last lease; null when planned or parked. */
  owner: string | null;
  /** When the lease ends, in milliseconds of the ledger's clock; null when not leased. */
  leaseUntil: number | null;
  /** Until when a parked step waits, in milliseconds since 1970; null when it waits to be freed, or is not parked. */
  parkedUntil: number | null;
}

/** How a step ended. */
export interface StepResult {
  /** `failed`: an answer of no use. */
  state: "done" | "failed" | "blocked";
  /** The teacher's text where there is any, also of no use. */
  content: string | null;
  /** Why there is no good answer; null when done. */
  code: string | null;
  /** The provider's word for how the text ended. */
  finish: string | null;
  /** Model that the provider named. */
  model: string | null;
  /** Attempts of this ask. */
  attempts: number;
  /** Money of this ask. */
  cost: number;
}

/** A step that is this owner's to ask. */
export interface Leased {
  /** The step with its new fence. */
  step: StepRow;
  /** Its drama as it is now. */
  drama: DramaRecord;
  /** All steps of the drama in this generation that have ended, in order of key. */
  answers: StepRow[];
}

/** What to lease. */
export interface LeaseRequest {
  /** Name of the worker, one of its kind. */
  owner: string;
  /** Most steps to lease. */
  max: number;
  /** How long they are held without a heartbeat, in milliseconds. */
  ttlMs: number;
  /** Steps of this generation alone. */
  generation: number;
  /** Default all. */
  kinds?: readonly StageKind[];
  /** Most leased steps of all owners together. Default no bound. */
  maxLeased?: number;
}

/** A lease, and what came of it. */
export interface StepCommit {
  /** Of the leased row. */
  key: string;
  /** Of the leased row. */
  owner: string;
  /** Of the leased row. */
  fence: number;
  /** How it ended. */
  result: StepResult;
  /** Steps that follow from all answers of the drama in this generation, the new one included; pure and synchronous, planned in the same transaction. Not called for a step of generation 0. A throw leaves the step leased and rejects the commit alone. */
  next: (answers: StepRow[]) => readonly StepSpec[];
}

/** A step to be put aside. */
export interface StepParking {
  /** Of the leased row. */
  key: string;
  /** Of the leased row. */
  owner: string;
  /** Of the leased row. */
  fence: number;
  /** Milliseconds since 1970; `Infinity` waits for `StepLedger.free`. */
  until: number;
  /** Why. */
  code: string;
  /** Attempts of this ask. */
  attempts: number;
  /** Money of this ask. */
  cost: number;
}

/** Which steps to free. */
export interface FreeRequest {
  /** Default `failed` and `parked`. */
  states?: readonly ("failed" | "parked" | "blocked")[];
  /** Default all. */
  kinds?: readonly StageKind[];
  /** Default all. */
  codes?: readonly string[];
}

/** Which steps to read. */
export interface StepQuery {
  /** Default all. */
  kind?: StageKind;
  /** Default all. */
  state?: StepState;
  /** Id of a drama. Default all. */
  drama?: string;
  /** Default all, 0 included. */
  generation?: number;
}
