import type { DramaOutcome } from "./curate-drama.ts";

/** How many dramas reached each stage, all together and by class 1 … 5. */
export interface Funnel {
  stages: { name: string; count: number; byClass: number[] }[];
  /** Answers that were of no use, by code. */
  problems: Record<string, number>;
}

const reached = (predicate: (outcome: DramaOutcome) => boolean) => (outcomes: readonly DramaOutcome[]) => outcomes.filter(predicate);

const STAGES: readonly (readonly [string, (outcomes: readonly DramaOutcome[]) => DramaOutcome[]])[] = [
  ["dramas", reached(() => true)],
  ["captioned", reached(({ caption }) => caption !== null)],
  ["comments kept", reached(({ caption, comments }) => caption !== null && comments.length > 0)],
  ["sampled (SFT)", reached(({ rounds }) => rounds.length > 0)],
  ["right class", reached(({ rounds }) => rounds.some(({ verdict }) => ["valid", "rejected", "no-verdict"].includes(verdict)))],
  ["reasons accepted", reached(({ think }) => think !== null)],
];

/** Counts the stages of a curation. */
export function funnelOf(outcomes: readonly DramaOutcome[]): Funnel {
  const problems: Record<string, number> = {};
  for (const code of outcomes.flatMap((outcome) => outcome.problems)) problems[code] = (problems[code] ?? 0) + 1;
  return {
    stages: STAGES.map(([name, pick]) => {
      const found = pick(outcomes);
      return { name, count: found.length, byClass: [1, 2, 3, 4, 5].map((quality) => found.filter((one) => one.quality === quality).length) };
    }),
    problems,
  };
}
