import { join } from "node:path";
import { compareSystems, type ComparisonTable } from "@dramascope/evaluation";
import { ablateWeights, DEFAULT_OPTIONS, type RewardName } from "@dramascope/rewards";
import type { StageResult } from "./judge.ts";
import { grpoAdapter, judgeWith, type SeedRun, type Workshop } from "./stages.ts";

/** What a seed's runs without parts of the recipe show. */
export interface Ablation {
  seed: number;
  /** The stages that only the ablation trained. */
  stages: StageResult[];
  /** Base, SFT only and GRPO only against both. */
  training: ComparisonTable;
  /** GRPO without some rewards, the weights of the others scaled to the same sum, against all four. */
  rewards: ComparisonTable;
}

const WITHOUT: readonly { folder: string; name: string; removed: readonly RewardName[] }[] = [
  { folder: "no-caption", name: "without the caption reward", removed: ["caption"] },
  { folder: "no-comments", name: "without the comments reward", removed: ["comments"] },
  { folder: "no-caption-comments", name: "accuracy and format only", removed: ["caption", "comments"] },
];

/** Trains and judges what the ablation tables need beside a seed's own stages. */
export async function ablate(shop: Workshop, base: StageResult, run: SeedRun): Promise<Ablation> {
  const { seed, folder, sftAdapter, sft, grpo } = run;
  const judged = async (name: string, adapter: string): Promise<StageResult> => judgeWith(shop, adapter, name, seed, "tags");
  const grpoOnly = await judged("GRPO only", await grpoAdapter(shop, { runDir: join(folder, "grpo-only"), seed }));
  const fewer: StageResult[] = [];
  for (const { folder: part, name, removed } of WITHOUT) {
    const adapter = await grpoAdapter(shop, { runDir: join(folder, `grpo-${part}`), seed, from: sftAdapter, rewardWeights: ablateWeights(DEFAULT_OPTIONS.weights, removed) });
    fewer.push(await judged(name, adapter));
  }
  const truth = new Map(shop.data.eval.map(({ sampleId, quality }): [string, number] => [sampleId, quality]));
  const compare = (stages: readonly [name: string, stage: StageResult][]): ComparisonTable => {
    const runs = new Map(stages.map(([name, { predictions }]) => [name, new Map(shop.data.eval.map(({ sampleId }, i): [string, number] => [sampleId, predictions[i]!]))]));
    return compareSystems(truth, runs, { baseline: stages.at(-1)![0], seed: 3, stratify: true });
  };
  return {
    seed,
    stages: [grpoOnly, ...fewer],
    training: compare([["base", base], ["SFT only", sft], ["GRPO only", grpoOnly], ["SFT + GRPO", grpo]]),
    rewards: compare([["no GRPO (SFT only)", sft], ...fewer.map((stage): [string, StageResult] => [stage.name, stage]), ["all four rewards", grpo]]),
  };
}
