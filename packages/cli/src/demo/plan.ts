/** Sizes and recipes of the demo: what was shown to learn, and a small version that only shows that everything runs. */
export interface DemoPlan {
  /** Dramas of the synthetic population whose indicators are scored. */
  population: number;
  /** Dramas of each class in each part. */
  perClass: { eval: number; sft: number; grpo: number };
  /** Held-out dramas that also exist as mp4 files and come back through ffmpeg. */
  filmed: number;
  sft: { epochs: number; batch: number; learningRate: number };
  grpo: { steps: number; promptsPerStep: number; completions: number; learningRate: number; nearMissCredit: number };
  /** Sampled answers that are averaged for each held-out drama. */
  ensemble: number;
  /** Whether the row of SFT on JSON answers is trained as well. */
  jsonRow: boolean;
}

/** The demo as `npm run demo` runs it. */
export const FULL_PLAN: DemoPlan = {
  population: 6000,
  perClass: { eval: 100, sft: 48, grpo: 128 },
  filmed: 40,
  sft: { epochs: 8, batch: 16, learningRate: 5e-3 },
  grpo: { steps: 70, promptsPerStep: 8, completions: 8, learningRate: 1.5e-3, nearMissCredit: 0.5 },
  ensemble: 8,
  jsonRow: true,
};

/** `--quick`: every stage once, too short to learn much. */
export const QUICK_PLAN: DemoPlan = {
  population: 1500,
  perClass: { eval: 8, sft: 6, grpo: 4 },
  filmed: 2,
  sft: { epochs: 2, batch: 6, learningRate: 5e-3 },
  grpo: { steps: 6, promptsPerStep: 4, completions: 4, learningRate: 1.5e-3, nearMissCredit: 0.5 },
  ensemble: 4,
  jsonRow: false,
};

/** Longest answers in tokens. */
export const ANSWER_TOKENS = { tags: 140, json: 48 } as const;
