import type { DramaOutcome, RoundOutcome } from "../pipeline/outcome.ts";
import { noneOfAnyClass } from "./class-balance.ts";
import type { FunnelStage } from "./report-types.ts";

/** Looks at a drama and the number of records that it gives. */
type Passes = (outcome: DramaOutcome, records: number) => boolean;

const anyRound = (test: (round: RoundOutcome) => boolean): Passes => ({ rounds }) => rounds.some(test);
const isReadable = ({ predicted }: RoundOutcome): boolean => predicted !== null;
const captioned: Passes = ({ caption }) => caption !== null;

const STAGES: Record<"sft" | "grpo", readonly (readonly [name: string, passes: Passes])[]> = {
  sft: [
    ["dramas", () => true],
    ["captioned", captioned],
    ["sampled", anyRound(() => true)],
    ["parsed", anyRound(isReadable)],
    ["rule 1", (outcome) => outcome.rounds.some(({ predicted }) => predicted === outcome.record.quality)],
    ["rules 2 and 3", ({ valid }) => valid.length > 0],
    ["selected", ({ decision, selected }) => decision === "kept" && selected.length > 0],
    ["exported", (_, records) => records > 0],
  ],
  grpo: [
    ["dramas", () => true],
    ["captioned", captioned],
    ["answered", ({ decision }) => decision !== "pending"],
    ["exported", (_, records) => records > 0],
    ["with comments", ({ comments }) => comments.length > 0],
  ],
};

/** Counts how far dramas come. Stages are passed in order, so counts never rise. */
export function createFunnelCounter(kind: "sft" | "grpo"): { add(outcome: DramaOutcome, records: number): void; stages: FunnelStage[] } {
  const tests = STAGES[kind];
  const stages = tests.map(([name]): FunnelStage => ({ name, count: 0, byClass: noneOfAnyClass() }));
  return {
    stages,
    add: (outcome, records) => {
      for (const [i, [, passes]] of tests.entries()) {
        if (!passes(outcome, records)) return;
        stages[i]!.count++;
        stages[i]!.byClass[outcome.record.quality - 1]!++;
      }
    },
  };
}
