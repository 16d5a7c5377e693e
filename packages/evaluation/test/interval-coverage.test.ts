import { bootstrapCi, computeMetrics, conformalInterval, conformalQuantile, createRandom } from "@dramascope/evaluation";
import { expect, it } from "vitest";

const SETS = 500;

it("bootstrap intervals hold the true accuracy and PCC in 92 to 98 % of simulated sets", () => {
  const random = createRandom(2026);
  const draw = (): [gold: number, prediction: number] => {
    const gold = 1 + random.below(5);
    return [gold, Math.min(5, Math.max(1, Math.round(gold + random.normal() * 1.2)))];
  };
  const set = (n: number): [number[], number[]] => {
    const pairs = Array.from({ length: n }, draw);
    return [pairs.map(([gold]) => gold), pairs.map(([, prediction]) => prediction)];
  };
  const population = computeMetrics(...set(400_000));
  const held = { accuracy: 0, pcc: 0 };
  for (let s = 0; s < SETS; s++) {
    const intervals = bootstrapCi(...set(200), { replicates: 800, seed: s });
    for (const metric of ["accuracy", "pcc"] as const) if (intervals[metric].low! <= population[metric]! && population[metric]! <= intervals[metric].high!) held[metric]++;
  }
  for (const metric of ["accuracy", "pcc"] as const) {
    expect(held[metric] / SETS, metric).toBeGreaterThanOrEqual(0.92);
    expect(held[metric] / SETS, metric).toBeLessThanOrEqual(0.98);
  }
});

it("conformal intervals hold new truths as promised", () => {
  for (const alpha of [0.05, 0.1, 0.2]) {
    const random = createRandom(7);
    const item = (): [score: number, gold: number] => {
      const gold = 1 + random.below(5);
      return [Math.min(5, Math.max(1, 3 + 0.5 * (gold - 3) + random.normal())), gold];
    };
    let inside = 0;
    for (let s = 0; s < SETS; s++) {
      const width = conformalQuantile(Array.from({ length: 100 }, item).map(([score, gold]) => score - gold), alpha)!;
      const [score, gold] = item();
      const [low, high] = conformalInterval(score, width);
      if (gold >= low - 1e-9 && gold <= high + 1e-9) inside++;
    }
    const promised = 1 - alpha;
    expect(inside / SETS, String(alpha)).toBeGreaterThanOrEqual(promised - 3 * Math.sqrt((promised * alpha) / SETS));
  }
});
