import { createRandom, type ExperimentPlan, type ExperimentRow } from "@dramascope/evaluation";

/** Two equal arms and one primary ratio metric. */
export const PLAN: ExperimentPlan = {
  variants: [{ name: "A", share: 1 }, { name: "B", share: 1 }],
  control: "A",
  metrics: [{ name: "ctr", kind: "ratio", numerator: "clicks", denominator: "impressions", role: "primary" }],
  minimumEffect: 0.05,
};

/** Rows as a stream, in pieces between which others may run. */
export async function* stream<T>(rows: readonly T[], pieceLength = Infinity): AsyncGenerator<T> {
  for (const [i, row] of rows.entries()) {
    if (i % pieceLength === 0) await Promise.resolve();
    yield row;
  }
}

/** Users whose impressions, taste and activity differ, so that clicks of one user hang together; `lift` raises the treatment's clicks. */
export function simulateUsers(seed: number, users: number, { lift = 0, prefix = "u" }: { lift?: number; prefix?: string } = {}): ExperimentRow[] {
  const random = createRandom(seed);
  return Array.from({ length: users }, (_, i): ExperimentRow => {
    const variant = random.next() >>> 31 === 0 ? "A" : "B";
    const taste = Math.min(0.9, Math.exp(-1.8 + 0.6 * random.normal()));
    const draws = (n: number, rate: number): number => {
      let hits = 0;
      for (let k = 0; k < n; k++) if (random.uniform() < rate) hits++;
      return hits;
    };
    const impressions = 1 + Math.floor(Math.exp(1.2 + 0.8 * random.normal()));
    const before = 1 + random.below(12);
    return { userId: `${prefix}${i}`, variant, clicks: draws(impressions, Math.min(1, taste * (variant === "B" ? 1 + lift : 1))), impressions, before: draws(before, taste) / before };
  });
}
