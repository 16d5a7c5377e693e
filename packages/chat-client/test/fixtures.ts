import type { ChatRequest, Clock, Outcome, Prices, TeacherClient } from "@dramascope/chat-client";

/** Names of faults and steps go into `drama`, where the simulator's rules find them. */
export const requestFor = (drama: string, more: Partial<ChatRequest> = {}): ChatRequest => ({
  task: "cot",
  model: "teacher-sim-1",
  messages: [{ role: "user", content: "Judge the drama." }],
  temperature: 0.7,
  maxTokens: 512,
  trace: { drama, round: 1 },
  ...more,
});

export const PRICES: Prices = { currency: "USD", date: "2026-11-01", bands: [{ in: 0.25, out: 2 }] };

/** A clock that stands still but for those who wait: each wait moves it on at once. */
export function fakeClock(start = 1_800_000_000_000): Clock & { slept: number[] } {
  let time = start;
  const slept: number[] = [];
  return {
    slept,
    now: () => time,
    sleep: (ms, signal) => {
      signal?.throwIfAborted();
      if (ms > 0) {
        slept.push(ms);
        time += ms;
      }
      return Promise.resolve();
    },
  };
}

/** A client that answers from a script; its last outcome goes on. Keeps what it was asked. */
export function scriptedClient(outcomes: readonly Outcome[]): TeacherClient & { asked: ChatRequest[] } {
  const asked: ChatRequest[] = [];
  return {
    asked,
    call: (request) => {
      asked.push(request);
      return Promise.resolve(outcomes[Math.min(asked.length, outcomes.length) - 1]!);
    },
    capabilities: () => {
      throw new Error("not asked for");
    },
    close: () => Promise.resolve(),
  };
}

/** An answer of 100 and 10 tokens. */
export const okOutcome: Extract<Outcome, { kind: "ok" }> = { kind: "ok", content: "x", finish: "stop", model: "teacher-sim-1", usage: { promptTokens: 100, completionTokens: 10, source: "reported" }, ms: 1 };

/** A clock of its own time: it moves on to the next timer when nothing else is left to do. Timers are late by `lateMs()`. */
export function virtualClock(lateMs: () => number = () => 0): Clock & { run: <T>(work: Promise<T>) => Promise<T> } {
  let time = 1_800_000_000_000;
  const timers: { at: number; resolve: () => void }[] = [];
  return {
    now: () => time,
    sleep: async (ms, signal) => {
      signal?.throwIfAborted();
      if (ms > 0) await new Promise<void>((resolve) => timers.push({ at: time + ms + lateMs(), resolve }));
    },
    run: async (work) => {
      const state = { isOver: false };
      void work.finally(() => (state.isOver = true));
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve));
        if (state.isOver) return work;
        const next = timers.reduce((least, { at }) => Math.min(least, at), Infinity);
        if (next === Infinity) continue;
        time = Math.max(time, next);
        for (const due of timers.filter(({ at }) => at <= time)) {
          timers.splice(timers.indexOf(due), 1);
          due.resolve();
        }
      }
    },
  };
}
