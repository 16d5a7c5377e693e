import { createRandom, DramascopeError } from "@dramascope/schema";
import { answerOf, type Teacher, type TeacherEvent } from "./answer.ts";
import { createBreaker, type Breaker } from "./breaker.ts";
import { systemClock, type Clock } from "./clock.ts";
import { estimateUsage } from "./estimate-usage.ts";
import { openJournal } from "./journal.ts";
import { costOf, type Prices } from "./prices.ts";
import { createRetryPolicy } from "./retry-policy.ts";
import { createSentWindow } from "./sent-window.ts";
import { memorySlots, USED_SHARE, WINDOW_MS, type Limits, type SlotStore } from "./slots.ts";
import { memorySpendBook, type SpendBook } from "./spend-book.ts";
import type { ChatRequest, Outcome, TeacherClient, Usage } from "./types.ts";

/** Options of {@link createTeacher}. */
export interface TeacherOptions {
  client: TeacherClient;
  /** Default everything is free. */
  prices?: Prices;
  /** Default 64 calls at once, no limit of requests and tokens. */
  limits?: Limits;
  /** Default in memory, by `limits`. */
  slots?: SlotStore;
  /** Default in memory, without a limit. */
  spendBook?: SpendBook;
  /** Failures that count before a call is parked; a 429 does not count. Default 6. */
  maxAttempts?: number;
  /** Longest first pause after a failure, milliseconds; doubles up to 60 s. Default 1000. */
  backoffMs?: number;
  /** JSONL file that gets a line before and one after each attempt, without any text. Default none. */
  journal?: string;
  /** Default the system's. */
  clock?: Clock;
  /** Seed of the pauses. Default 0. */
  seed?: number;
  onEvent?: (event: TeacherEvent) => void;
}

const IN_FLIGHT = 64;
/** How long before its sending time an attempt is booked: durable books take a moment. */
const BOOKING_LEAD_MS = 50;
/** Sending times that may be missed in a row before one is used late. */
const MAX_MISSED = 3;
const STREAM = 0xc4a7;

interface Attempt {
  request: ChatRequest;
  /** Number of the call in this process. */
  call: number;
  key: string;
  attempt: number;
  signal: AbortSignal | undefined;
}

/** What an attempt used, or may have used; null for one that was surely free. */
function usedBy(outcome: Outcome, estimate: Usage): Usage | null {
  if (outcome.kind === "fatal") return null;
  return outcome.usage ?? (outcome.kind === "retry" && outcome.maybePaid ? estimate : null);
}

/**
 * Makes a teacher of a client: retries by class of failure, sending times that keep the provider's limits, half the calls at once after a 429,
 * a budget that is booked before anything is sent, a journal.
 *
 * What a provider does is an {@link Answer}. The budget is never exceeded by more than the calls in flight cost beyond their estimates.
 *
 * @throws ChatError `JOURNAL_IO`.
 */
export function createTeacher(options: TeacherOptions): Teacher {
  const { client, prices, limits = {}, maxAttempts = 6, backoffMs = 1000, clock = systemClock, onEvent } = options;
  const { inFlight = IN_FLIGHT, windowMs = WINDOW_MS } = limits;
  const slots = options.slots ?? memorySlots(limits, clock);
  const book = options.spendBook ?? memorySpendBook();
  const journal = options.journal === undefined ? undefined : openJournal(options.journal);
  const { uniform } = createRandom(options.seed ?? 0, { stream: STREAM });
  const waitForWindow = createSentWindow({ rpm: limits.rpm, windowMs }, clock);
  // Sending times that others share are missed by no more than half of what the spacing leaves free.
  const toleranceMs = options.slots ? (windowMs * (1 / USED_SHARE - 1)) / 2 : Infinity;
  const breakers = new Map<string, Breaker>();
  const differing = new Set<string>();
  let blockedUntil = 0;
  let calls = 0;

  const price = (usage: Usage | null): number => (usage && prices ? costOf(prices, usage) : 0);

  const breakerOf = (model: string): Breaker => {
    const known = breakers.get(model) ?? createBreaker({ inFlight, windowMs, clock });
    breakers.set(model, known);
    return known;
  };

  /** Waits until an attempt may be sent, and books it just before; null when the budget does not allow it. */
  const admit = async ({ request, key, attempt, signal }: Attempt, estimate: Usage): Promise<string | null> => {
    const tokens = estimate.promptTokens + estimate.completionTokens;
    let id: string | undefined;
    try {
      for (let missed = 0; ; missed++) {
        const [time = 0] = await slots.take(1, tokens);
        await clock.sleep(time - clock.now() - BOOKING_LEAD_MS, signal);
        id ??= (await book.reserve({ key, attempt, task: request.task, drama: request.trace?.drama ?? "", estimate: price(estimate), at: clock.now() })) ?? undefined;
        if (id === undefined) return null;
        await clock.sleep(time - clock.now(), signal);
        if (time >= blockedUntil && (clock.now() - time <= toleranceMs || missed >= MAX_MISSED)) {
          await waitForWindow(signal);
          return id;
        }
        await slots.adjust(-tokens);
      }
    } catch (error) {
      if (id !== undefined) await book.settle(id, { cost: 0, outcome: "not-sent", isUnknown: false, at: clock.now() });
      throw error;
    }
  };

  /** One attempt from its place in the queue to its last line in the journal; null when the budget does not allow it. */
  const run = async (one: Attempt): Promise<{ outcome: Outcome; cost: number } | null> => {
    const { request, call, key, attempt, signal } = one;
    const breaker = breakerOf(request.model);
    const leave = await breaker.enter(signal);
    try {
      const estimate = estimateUsage(request);
      const id = await admit(one, estimate);
      if (id === null) return null;
      const sentAt = clock.now();
      const base = { call, key, attempt };
      let isSettled = false;
      try {
        const { drama, round, item } = request.trace ?? {};
        journal?.note({ event: "start", ...base, at: sentAt, task: request.task, model: request.model, drama, round, item });
        const outcome = await client.call(request, signal);
        const usage = usedBy(outcome, estimate);
        const cost = price(usage);
        const code = outcome.kind === "ok" ? {} : { code: outcome.code };
        const known = usage ? { usage } : {};
        const at = clock.now();
        isSettled = true;
        await book.settle(id, { cost, outcome: outcome.kind, ...code, ...known, isUnknown: outcome.kind === "retry" && outcome.maybePaid && !outcome.usage, at });
        journal?.note({ event: "end", ...base, at, outcome: outcome.kind, ...code, cost, ...known, ms: at - sentAt });
        onEvent?.({ type: "attempt", key, attempt, task: request.task, drama: drama ?? "", outcome: outcome.kind, ...code, cost, ...known, ms: at - sentAt });
        const isRefused = outcome.kind === "retry" && outcome.code === "RATE_LIMITED";
        if (isRefused) breaker.trip(sentAt);
        else if (outcome.kind === "ok") breaker.succeed();
        const booked = estimate.promptTokens + estimate.completionTokens;
        if (isRefused) await slots.adjust(-booked);
        else if (usage) await slots.adjust(usage.promptTokens + usage.completionTokens - booked);
        return { outcome, cost };
      } catch (error) {
        // Errors of our own come before the request goes out; what is aborted on its way may have been charged.
        const isUnsent = DramascopeError.isInstance(error);
        if (!isSettled) await book.settle(id, { cost: isUnsent ? 0 : price(estimate), outcome: isUnsent ? "not-sent" : "aborted", isUnknown: !isUnsent, at: clock.now() });
        throw error;
      }
    } finally {
      leave();
    }
  };

  const warnOfModel = (asked: string, returned: string): void => {
    const pair = JSON.stringify([asked, returned]);
    if (returned === "" || returned === asked || differing.has(pair)) return;
    differing.add(pair);
    onEvent?.({ type: "model-differs", asked, returned });
  };

  const ask: Teacher["ask"] = async (request, { key = "", signal } = {}) => {
    const call = ++calls;
    const decide = createRetryPolicy({ maxAttempts, backoffMs, maxTokens: request.maxTokens, uniform });
    let maxTokens = request.maxTokens;
    let cost = 0;
    for (let attempt = 1; ; attempt++) {
      const trace = request.trace ? { trace: { ...request.trace, attempt } } : {};
      const ended = await run({ request: { ...request, maxTokens, ...trace }, call, key, attempt, signal });
      if (ended === null) return { kind: "budget", attempts: attempt - 1 };
      cost += ended.cost;
      const decision = decide(ended.outcome);
      if (decision.next === "end") {
        const { ending } = decision;
        if (ending.kind === "ok" || ending.kind === "unusable") warnOfModel(request.model, ending.model ?? "");
        return answerOf(ending, cost, attempt);
      }
      ({ maxTokens } = decision);
      if (decision.blockedMs !== null) {
        blockedUntil = Math.max(blockedUntil, clock.now() + decision.blockedMs);
        await slots.slowDown(blockedUntil);
        onEvent?.({ type: "slow-down", model: request.model, pauseMs: decision.blockedMs, inFlight: breakerOf(request.model).places() });
      }
      await clock.sleep(decision.pauseMs, signal);
    }
  };

  return {
    ask,
    spent: () => book.spent(),
    close: () => {
      journal?.close();
      return Promise.resolve();
    },
  };
}
