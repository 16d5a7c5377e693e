import type { ChatRequest, Clock, Prices } from "@dramascope/chat-client";

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
