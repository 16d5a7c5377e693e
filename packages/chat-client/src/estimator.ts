import { estimateUsage } from "./estimate-usage.ts";
import type { ChatRequest, Usage } from "./types.ts";

/** Estimates that learn what a provider counts, for pictures and scripts are counted in many ways. */
export interface Estimator {
  estimate(request: ChatRequest): Usage;
  /** Compares an estimate with what was used; only reported tokens teach anything. */
  learn(request: ChatRequest, estimate: Usage, usage: Usage): void;
}

/** Makes an estimator: prompts of a task and model are taken for as much longer than by {@link estimateUsage} as the longest reported one was, never for shorter. */
export function createEstimator(): Estimator {
  const factors = new Map<string, number>();
  const nameOf = ({ task, model }: ChatRequest): string => JSON.stringify([task, model]);
  const factorOf = (request: ChatRequest): number => factors.get(nameOf(request)) ?? 1;
  return {
    estimate: (request) => {
      const usage = estimateUsage(request);
      return { ...usage, promptTokens: Math.ceil(usage.promptTokens * factorOf(request)) };
    },
    learn: (request, estimate, usage) => {
      if (usage.source === "reported" && usage.promptTokens > estimate.promptTokens) factors.set(nameOf(request), (factorOf(request) * usage.promptTokens) / estimate.promptTokens);
    },
  };
}
