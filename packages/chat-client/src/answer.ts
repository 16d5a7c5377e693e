import type { ChatRequest, Outcome, Usage } from "./types.ts";

/** How a call ended after all its attempts. `cost` is what all of them cost, in the currency of the prices; `attempts` counts those that were sent. */
export type Answer =
  | { kind: "ok"; content: string; finish: string; model: string; usage: Usage; cost: number; attempts: number }
  /** The provider refuses this content; never tried again. */
  | { kind: "blocked"; code: string; cost: number; attempts: number }
  /** Nothing usable: `TRUNCATED` also with twice the tokens, `EMPTY`, `TOO_LARGE`, `REQUEST_TOO_LARGE`, or the provider's code for a request it does not take. */
  | { kind: "unusable"; code: string; raw?: string; finish?: string; model?: string; cost: number; attempts: number }
  /** Every attempt failed in passing; worth another run. */
  | { kind: "parked"; code: string; cost: number; attempts: number }
  /** No call will work: wrong key, unknown model, account overdue. */
  | { kind: "fatal"; code: string; message: string; attempts: number }
  /** The budget allows no further attempt. */
  | { kind: "budget"; attempts: number };

/** What a {@link Teacher} tells while it works. Never holds text of messages or answers. */
export type TeacherEvent =
  /** An attempt ended. `cost` holds the estimate where the outcome is unknown. */
  | { type: "attempt"; key: string; attempt: number; task: string; drama: string; outcome: string; code?: string; cost: number; usage?: Usage; ms: number }
  /** The provider asked to slow down: nothing is sent for `pauseMs`, and at most `inFlight` calls run at once from now. */
  | { type: "slow-down"; model: string; pauseMs: number; inFlight: number }
  /** Another model answered than was asked for; told once for each pair. */
  | { type: "model-differs"; asked: string; returned: string };

/** Calls a teacher model until there is an answer or a reason why there is none. */
export interface Teacher {
  /**
   * Asks once, with as many attempts as the classes of failures allow.
   *
   * @param o `key` names the call in books, journal and events (default empty); `signal` ends it; `isWanted` is asked right before each attempt goes out, and false ends the call unsent.
   * @throws ChatError `JOURNAL_IO`, `MEDIA_UNSUPPORTED`, `CALL_UNWANTED`; what the spend book throws; the signal's reason when it is aborted.
   */
  ask(request: ChatRequest, o?: { key?: string; signal?: AbortSignal; isWanted?: () => boolean }): Promise<Answer>;
  /** Money spent and reserved so far, unknown outcomes counted as spent. */
  spent(): number;
  /** Closes the journal. The client belongs to whoever made it. */
  close(): Promise<void>;
}

/** The end of a call as an answer. */
export function answerOf(ending: Exclude<Outcome, { kind: "retry" }> | { kind: "parked"; code: string }, cost: number, attempts: number): Answer {
  switch (ending.kind) {
    case "ok":
      return { kind: "ok", content: ending.content, finish: ending.finish, model: ending.model, usage: ending.usage, cost, attempts };
    case "unusable": {
      const { usage: _, ...rest } = ending;
      return { ...rest, cost, attempts };
    }
    case "fatal":
      return { kind: "fatal", code: ending.code, message: ending.message, attempts };
    case "blocked":
    case "parked":
      return { kind: ending.kind, code: ending.code, cost, attempts };
  }
}
