import type { SpendBook } from "@dramascope/chat-client";
import type { EpisodeFile, Quality, Split } from "@dramascope/schema";

/** A JSON value. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** Kinds of paid steps, in the order in which a drama meets them. */
export const STAGE_KINDS = ["caption", "sample", "filter", "comments"] as const;
/** Kind of a paid step. */
export type StageKind = (typeof STAGE_KINDS)[number];

/** States of a step. */
export const STEP_STATES = ["planned", "leased", "done", "failed", "blocked", "parked"] as const;
/**
 * Where a step stands. `done`, `failed` (an answer of no use, its code and raw text kept) and `blocked` (refused for its content) have ended; `parked` waits for a time or for
 * {@link StepLedger.free}.
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

/** A drama's data that leave this machine or an export needs: redacted, without title and without user ids. */
export interface StoredDrama {
  /** Id of the drama. */
  dramaId: string;
  /** Genre as it was given. */
  genre?: string;
  /** The episodes that are looked at. */
  episodes: readonly EpisodeFile[];
  /** Redacted; `hash` is the salted hash of the text as it came. */
  comments: readonly { text: string; likes: number; episode?: number; hash?: string }[];
  /** Redacted. */
  transcript?: string;
  /** Hash of the hot value model that gave the class. */
  classCalibration?: string;
}

/** A drama with its class and its place. */
export interface DramaRecord {
  /** Well-formed, without NUL. */
  dramaId: string;
  /** SHA-256 in hex of split and id, as in the id of the drama's first record (`sft-ID`): the order of every export. */
  order: string;
  /** SHA-256 of everything that answers depend on. */
  contentHash: string;
  /** The known class, 1 to 5. */
  quality: Quality;
  /** The set that the drama belongs to. */
  split: Split;
  /** Dramas of one group stay in one split. */
  groupId: string;
  /** What requests and exports are made from. */
  drama: StoredDrama;
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

/** Answers under one identity of prompts, model and sampling. */
export interface Generation {
  /** From 1. */
  generation: number;
  /** Hash of everything that makes answers another generation's. */
  identity: string;
  /** What the identity was made from, for people to compare. */
  settings: Json;
  /** ISO 8601, UTC. */
  startedAt: string;
}

/** Whether a class may go on with a round. */
export interface Gate {
  /** Generation that it is about. */
  generation: number;
  /** Class that it is about. */
  quality: Quality;
  /** Round that it opens or closes, from 2. */
  round: number;
  /** Whether the round is asked. */
  isOpen: boolean;
  /** Money that the round before cost in this class. */
  cost: number;
  /** Dramas that the round before gave their first valid sample. */
  newDramas: number;
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
  /** Milliseconds since 1970; `Infinity` waits for {@link StepLedger.free}. */
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

/** Money and calls. The three sums of money make up `spent()`. */
export interface Spending {
  /** Cost of attempts whose cost is known. */
  settled: number;
  /** Charged for attempts that may have been paid: lost in a crash, timed out, cut off. */
  unknown: number;
  /** Estimates of attempts on the way. */
  inFlight: number;
  /** Prompt tokens of the attempts that were answered, estimated where the provider named none. */
  promptTokens: number;
  /** Completion tokens of the same. */
  completionTokens: number;
  /** Attempts. */
  calls: number;
  /** By kind of step; attempts with another task under the task's name. `retries` are attempts beyond the first of each step. */
  byKind: Record<string, { calls: number; cost: number; retries: number }>;
  /** Attempts by outcome; `unknown` and `in-flight` for those without. */
  byOutcome: Record<string, number>;
}

/**
 * Steps, their answers and the money they cost, durable before they are used. Every method rejects with CurationError `LEDGER_IO` when the disk or the server fails; what was
 * committed stays. Texts are stored well-formed and without NUL; keys, ids of dramas and owners that are not are refused (`LEDGER_TEXT`).
 */
export interface StepLedger extends SpendBook {
  /** In order of their number. */
  generations(): Promise<Generation[]>;
  /** The generation of an identity, made when there is none. */
  openGeneration(identity: string, settings: Json): Promise<Generation>;
  /** Stores dramas, or what has changed about them. All steps of one whose `contentHash` has changed move to generation 0 with their answers, from where {@link StepLedger.plan} gets back those with the same key. */
  putDramas(rows: readonly DramaRecord[]): Promise<void>;
  /** In order of `order`, in constant memory. */
  dramas(): AsyncIterable<DramaRecord>;
  drama(id: string): Promise<DramaRecord | undefined>;
  /**
   * Plans steps that are absent; a step of another generation with the same key moves to this one with its state and answer.
   *
   * @returns Number of steps that are new in this generation, moved ones included: as long as it is not 0, answers may have come along that call for more.
   * @throws CurationError `LEDGER_DRAMA_UNKNOWN` when the ledger does not hold a step's drama.
   */
  plan(steps: readonly StepSpec[], generation: number): Promise<number>;
  /** Takes planned steps, and those whose lease or time of parking has run out; no step is anybody else's until its lease runs out. */
  lease(request: LeaseRequest): Promise<Leased[]>;
  /** Holds leases for another `ttlMs` from now. Keys whose step is no longer this owner's come back as lost. */
  heartbeat(keys: readonly string[], owner: string, ttlMs: number): Promise<{ lost: string[] }>;
  /** Ends a step. The first commit wins: `stale`, and nothing is written, when the step has ended, was leased again since (another fence) or is gone. A lease that ran out counts as long as nobody else took the step. */
  commit(commit: StepCommit): Promise<"ok" | "stale">;
  /** Puts a step aside until a time; it never waits longer than what is between now and then, whatever the clock does. `stale` as in {@link StepLedger.commit}. */
  park(parking: StepParking): Promise<"ok" | "stale">;
  /** Gives leases back: planned again, nothing lost. */
  release(keys: readonly string[], owner: string): Promise<void>;
  /** Gives leases back of steps that nothing asks for any more: planned, in generation 0, from where {@link StepLedger.plan} gets them back. */
  retire(keys: readonly string[], owner: string): Promise<void>;
  /** Plans ended or parked steps of the newest generation again, without their texts and codes. Number of them. */
  free(request: FreeRequest): Promise<number>;
  /** In constant memory. */
  stream(query: StepQuery): AsyncIterable<StepRow>;
  /** Every drama with all its steps in a generation, in any state and in order of key; dramas in order of `order`, in constant memory. */
  answersByDrama(generation: number): AsyncIterable<{ drama: DramaRecord; answers: StepRow[] }>;
  counts(generation: number): Promise<Record<StageKind, Record<StepState, number>>>;
  spending(): Promise<Spending>;
  /** In order of class and round. */
  gates(generation: number): Promise<Gate[]>;
  /** The first word on a gate stays. */
  setGate(gate: Gate): Promise<void>;
  /** Deletes a drama with its steps and texts, down to the bytes of the file once nobody else reads it. What was spent on it stays in the sums, without its name. Number of deleted steps. */
  deleteDrama(id: string): Promise<number>;
  /** Resolves when there may be new work (a commit, another worker, a lease that ran out), when the signal aborts, and at the latest after `ms`. */
  wake(ms: number, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
