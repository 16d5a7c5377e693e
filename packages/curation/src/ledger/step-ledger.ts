import type { SpendBook } from "@dramascope/chat-client";
import type { DramaRecord } from "./drama-types.ts";
import type { Gate, Generation, Json } from "./generation-types.ts";
import type { Spending } from "./spending.ts";
import type { FreeRequest, Leased, LeaseRequest, StageKind, StepCommit, StepParking, StepQuery, StepRow, StepSpec, StepState } from "./step-types.ts";

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
