import { createRandom, DramascopeError } from "@dramascope/schema";
import { answerOf, type Teacher, type TeacherEvent } from "./answer.ts";
import { createBreaker, type Breaker } from "./breaker.ts";
import { systemClock, type Clock } from "./clock.ts";
import { ChatError } from "./errors.ts";
import { createEstimator } from "./estimator.ts";
import { openJournal } from "./journal.ts";
import { WINDOW_MS } from "./pace.ts";
import { createPacing } from "./pacing.ts";
import { costOf, type Prices } from "./prices.ts";
import { createReserving } from "./reserving.ts";
import { createRetryPolicy, type Decision } from "./retry-policy.ts";
import type { Limits, SlotStore } from "./slots.ts";
import { memorySpendBook, type SpendBook, type SpendResult } from "./spend-book.ts";
import type { ChatRequest, Outcome, TeacherClient, Usage } from "./types.ts";

/** Options of {@link createTeacher}. */
export interface TeacherOptions {
  /** Makes the attempts; stays open when the teacher is closed. */
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
  /** Hears of every attempt, of refusals for the rate and of other models. Default nobody. */
  onEvent?: (event: TeacherEvent) => void;
}

const IN_FLIGHT = 64;
const STREAM = 0xc4a7;

interface Attempt {
  request: ChatRequest;
  /** Number of the call in this process. */
  call: number;
  key: string;
  attempt: number;
  signal: AbortSignal | undefined;
  isWanted: (() => boolean) | undefined;
}

/** What an attempt used, or may have used; null for one that was surely free. */
function usedBy(outcome: Outcome, estimate: Usage): Usage | null {
  if (outcome.kind === "fatal") return null;
  if (outcome.usage?.source === "estimated") return { ...outcome.usage, promptTokens: Math.max(outcome.usage.promptTokens, estimate.promptTokens) };
  return outcome.usage ?? (outcome.kind === "retry" && outcome.maybePaid ? estimate : null);
}

/** Refuses numbers that would let nothing through. */
function check({ limits, maxAttempts, backoffMs, prices }: { limits: Limits; maxAttempts: number; backoffMs: number; prices: Prices | undefined }): void {
  const wrong = Object.entries({ ...limits, maxAttempts, backoffMs }).find(([, value]: [string, number | undefined]) => value !== undefined && !(value > 0));
  if (wrong) throw new ChatError(`${wrong[0]} is ${String(wrong[1])}`, { code: "CHAT_OPTIONS", hint: "Give a number above 0." });
  if (prices?.bands.length === 0) throw new ChatError("the prices have no band", { code: "CHAT_OPTIONS", hint: "Give at least one band with `in` and `out`." });
}

/**
 * Makes a teacher of a client: retries by class of failure, sending times that keep the provider's limits, half the calls at once after a 429,
 * a budget that is booked before anything is sent, a journal.
 *
 * What a provider does is an {@link Answer}. The budget is never exceeded by more than what the calls in flight cost beyond their estimates.
 *
 * @throws ChatError `CHAT_OPTIONS`, `JOURNAL_IO`.
 */
export function createTeacher(options: TeacherOptions): Teacher {
  const { client, prices, limits = {}, maxAttempts = 6, backoffMs = 1000, clock = systemClock, onEvent } = options;
  check({ limits, maxAttempts, backoffMs, prices });
  const { inFlight = IN_FLIGHT, windowMs = WINDOW_MS } = limits;
  const pacing = createPacing({ limits, slots: options.slots, clock });
  const book = options.spendBook ?? memorySpendBook();
  const money = createReserving(book, clock);
  const journal = options.journal === undefined ? undefined : openJournal(options.journal);
  const random = createRandom(options.seed ?? 0, { stream: STREAM });
  const estimator = createEstimator();
  const breakers = new Map<string, Breaker>();
  const differing = new Set<string>();
  let calls = 0;

  const price = (usage: Usage | null): number => (usage && prices ? costOf(prices, usage) : 0);

  const breakerOf = (model: string): Breaker => {
    const known = breakers.get(model) ?? createBreaker({ inFlight, windowMs, clock });
    breakers.set(model, known);
    return known;
  };

  /** Waits until an attempt may be sent, and books it just before; null when the budget does not allow it with nothing in flight. */
  const admit = async ({ request, key, attempt, signal, isWanted }: Attempt, estimate: Usage): Promise<string | null> => {
    const booked: { id: string | null } = { id: null };
    const reserve = async (): Promise<boolean> => {
      booked.id = await money.reserve(() => ({ key, attempt, task: request.task, drama: request.trace?.drama ?? "", estimate: price(estimate), at: clock.now() }), signal);
      return booked.id !== null;
    };
    try {
      await pacing.admit(estimate.promptTokens + estimate.completionTokens, reserve, signal);
      if (isWanted?.() === false) throw new ChatError(`the call ${key} is not wanted any more`, { code: "CALL_UNWANTED" });
      return booked.id;
    } catch (error) {
      if (booked.id !== null) await money.settle(booked.id, { cost: 0, outcome: "not-sent", isUnknown: false, at: clock.now() });
      throw error;
    }
  };

  /** Sends an attempt that is booked, and writes down how it ended. */
  const send = async ({ request, call, key, attempt, signal }: Attempt, estimate: Usage, id: string): Promise<{ outcome: Outcome; cost: number }> => {
    const { task, model, trace: { drama = "", round, item } = {} } = request;
    const sentAt = clock.now();
    const record = async (result: Omit<SpendResult, "at">): Promise<void> => {
      const at = clock.now();
      const { isUnknown: _, ...told } = { ...result, ms: at - sentAt };
      await money.settle(id, { ...result, at });
      journal?.note({ event: "end", call, key, attempt, at, ...told });
      onEvent?.({ type: "attempt", key, attempt, task, drama, ...told });
    };
    let outcome: Outcome;
    try {
      journal?.note({ event: "start", call, key, attempt, at: sentAt, task, model, drama, round, item });
      outcome = await client.call(request, signal);
    } catch (error) {
      // Errors of our own come before the request goes out; what is aborted on its way may have been charged.
      const isUnsent = DramascopeError.isInstance(error);
      await record(isUnsent ? { outcome: "not-sent", cost: 0, isUnknown: false } : { outcome: "aborted", cost: price(estimate), isUnknown: true });
      throw error;
    }
    const usage = usedBy(outcome, estimate);
    const cost = price(usage);
    if (usage) estimator.learn(request, usage);
    const isUnknown = outcome.kind === "retry" && outcome.maybePaid && outcome.usage === undefined;
    await record({ outcome: outcome.kind, ...(outcome.kind === "ok" ? {} : { code: outcome.code }), cost, ...(usage ? { usage } : {}), isUnknown });

    const isRefused = outcome.kind === "retry" && outcome.code === "RATE_LIMITED";
    if (isRefused) breakerOf(model).trip(sentAt);
    else if (outcome.kind === "ok") breakerOf(model).succeed();
    const used = usage ?? (isRefused ? { promptTokens: 0, completionTokens: 0 } : estimate);
    await pacing.correct(used.promptTokens + used.completionTokens - estimate.promptTokens - estimate.completionTokens);
    return { outcome: outcome.kind === "ok" && usage ? { ...outcome, usage } : outcome, cost };
  };

  /** One attempt from its place in the queue, and what comes after it; null when the budget does not allow it. */
  const run = async (one: Attempt, decide: (outcome: Outcome) => Decision): Promise<{ decision: Decision; cost: number } | null> => {
    const { model } = one.request;
    const leave = await breakerOf(model).enter(one.signal);
    try {
      const estimate = estimator.estimate(one.request);
      const id = await admit(one, estimate);
      if (id === null) return null;
      const { outcome, cost } = await send(one, estimate, id);
      const decision = decide(outcome);
      // Known before the next in the queue takes this place.
      if (decision.next === "again" && decision.blockedMs !== null) {
        await pacing.slowDown(decision.blockedMs);
        onEvent?.({ type: "slow-down", model, pauseMs: decision.blockedMs, inFlight: breakerOf(model).places() });
      }
      return { decision, cost };
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

  const ask: Teacher["ask"] = async (request, { key = "", signal, isWanted } = {}) => {
    const call = ++calls;
    const decide = createRetryPolicy({ maxAttempts, backoffMs, maxTokens: request.maxTokens, uniform: () => random.uniform() });
    let maxTokens = request.maxTokens;
    let cost = 0;
    for (let attempt = 1; ; attempt++) {
      const trace = request.trace ? { trace: { ...request.trace, attempt } } : {};
      const ended = await run({ request: { ...request, maxTokens, ...trace }, call, key, attempt, signal, isWanted }, decide);
      if (ended === null) return { kind: "budget", attempts: attempt - 1 };
      cost += ended.cost;
      const { decision } = ended;
      if (decision.next === "end") {
        const { ending } = decision;
        if (ending.kind === "ok" || ending.kind === "unusable") warnOfModel(request.model, ending.model ?? "");
        return answerOf(ending, cost, attempt);
      }
      ({ maxTokens } = decision);
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
