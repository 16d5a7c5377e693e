import type { CurationConfig } from "./config.ts";
import { placeDramas, type CurationInput } from "./run.ts";

/** Calls and money of a run, before anything is paid. */
export interface Estimate {
  dramas: { sft: number; grpo: number; eval: number };
  /** Fewest, expected and most calls. */
  calls: { low: number; expected: number; high: number };
  /** In the currency of the prices. */
  cost: { low: number; expected: number; high: number };
}

const TOKENS_IN = 20_000;
const EXPECTED_ROUNDS_SHARE = 0.4;

/** Counts what a run would ask, without any call. */
export function estimate(input: Pick<CurationInput, "config" | "dramas" | "previousSplit">): Estimate {
  const { config } = input;
  const placed = placeDramas(input);
  const count = (split: string): number => placed.filter((one) => one.split === split).length;
  const [sft, grpo] = [count("sft"), count("grpo")];
  const once = 2 * (sft + grpo);
  const rounds = config.rounds.max;
  const calls = { low: once + 2 * sft, expected: once + Math.ceil(sft * Math.max(2, rounds * EXPECTED_ROUNDS_SHARE + 1)), high: once + 2 * sft * rounds };
  const price = (n: number): number => (n * (TOKENS_IN * config.teacher.prices.input + priceOut(config))) / 1e6;
  return { dramas: { sft, grpo, eval: count("eval") }, calls, cost: { low: price(calls.low), expected: price(calls.expected), high: price(calls.high) } };
}

const priceOut = ({ teacher }: CurationConfig): number => (teacher.maxTokens / 2) * teacher.prices.output;
