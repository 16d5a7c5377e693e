import { join } from "node:path";
import { compareSystems, type ComparisonTable } from "@dramascope/evaluation";
import { ablateWeights, DEFAULT_OPTIONS, type RewardName } from "@dramascope/rewards";
import type { GrpoConfigInput } from "@dramascope/trainer";
import { RESAMPLING, type StageResult } from "./judge.ts";
import { grpoAdapter, judgeWith, type SeedRun, type Workshop } from "./stages.ts";

/** What a seed's runs without parts of the recipe show. */
export interface Ablation {
  seed: number;
  /** The stages that only the ablation trained. */
  stages: StageResult[];
  /** Base, SFT only and GRPO only against both. */
  training: ComparisonTable;
  /** GRPO without some rewards, the weights of the others scaled to the same sum, or without credit for near misses, against all four. */
  rewards: ComparisonTable;
}

type Rewards = Pick<GrpoConfigInput, "rewardWeights" | "nearMissCredit">;

const without = (...removed: RewardName[]): Rewards => ({ rewardWeights: ablateWeights(DEFAULT_OPTIONS.weights, removed) });

const VARIANTS: readonly { folder: string; name: string; rewards: Rewards }[] = [
  { folder: "no-caption", name: "without the caption reward", rewards: without("caption") },
  { folder: "no-comments", name: "without the comments reward", rewards: without("comments") },
  { folder: "no-caption-comments", name: "accuracy and format only", rewards: without("caption", "comments") },
  { folder: "exact", name: "exact classes only, as published", rewards: { nearMissCredit: 0 } },
];

/** Trains and judges what the ablation tables need beside a seed's own stages. */
export async function ablate(shop: Workshop, base: StageResult, run: SeedRun): Promise<Ablation> {
  const { seed, folder, sftAdapter, sft, grpo } = run;
  const judged = async (name: string, adapter: string): Promise<StageResult> => judgeWith(shop, adapter, name, seed, "tags");
  const grpoOnly = await judged("GRPO only", await grpoAdapter(shop, { runDir: join(folder, "grpo-only"), seed }));
  const others: StageResult[] = [];
  for (const { folder: part, name, rewards } of VARIANTS) others.push(await judged(name, await grpoAdapter(shop, { runDir: join(folder, `grpo-${part}`), seed, from: sftAdapter, rewards })));
  const truth = new Map(shop.data.eval.map(({ sampleId, quality }): [string, number] => [sampleId, quality]));
  const compare = (stages: readonly [name: string, stage: StageResult][]): ComparisonTable => {
    const runs = new Map(stages.map(([name, { predictions }]) => [name, new Map(shop.data.eval.map(({ sampleId }, i): [string, number] => [sampleId, predictions[i]!]))]));
    return compareSystems(truth, runs, { baseline: stages.at(-1)![0], ...RESAMPLING });
  };
  return {
    seed,
    stages: [grpoOnly, ...others],
    training: compare([["base", base], ["SFT only", sft], ["GRPO only", grpoOnly], ["SFT + GRPO", grpo]]),
    rewards: compare([["no GRPO (SFT only)", sft], ...others.map((stage): [string, StageResult] => [stage.name, stage]), ["all four rewards", grpo]]),
  };
}
