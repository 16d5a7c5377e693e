import { estimateUsage } from "./estimate-usage.ts";
import type { ChatRequest, Usage } from "./types.ts";

/** Estimates that learn what a provider counts, for pictures and scripts are counted in many ways. */
export interface Estimator {
  estimate(request: ChatRequest): Usage;
  /** Compares what was used with what {@link estimateUsage} says; only reported tokens teach anything. */
  learn(request: ChatRequest, usage: Usage): void;
}

/** No way of counting pictures or scripts is further off; a report that is would hold everything else up. */
const MAX_FACTOR = 32;

/** Makes an estimator: prompts of a task and model are taken for as much longer than by {@link estimateUsage} as the longest reported one was, within bounds, never for shorter. */
export function createEstimator(): Estimator {
  const factors = new Map<string, number>();
  const nameOf = ({ task, model }: ChatRequest): string => JSON.stringify([task, model]);
  const factorOf = (request: ChatRequest): number => factors.get(nameOf(request)) ?? 1;
  return {
    estimate: (request) => {
      const usage = estimateUsage(request);
      return { ...usage, promptTokens: Math.ceil(usage.promptTokens * factorOf(request)) };
    },
    learn: (request, usage) => {
      if (usage.source !== "reported") return;
      const factor = Math.min(MAX_FACTOR, usage.promptTokens / estimateUsage(request).promptTokens);
      factors.set(nameOf(request), Math.max(factorOf(request), factor));
    },
  };
}
