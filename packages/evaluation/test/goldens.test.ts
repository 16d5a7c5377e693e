import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  baselines, bootstrapCi, computeCoverage, computeMetrics, conformalQuantile, createRandom, evaluate, holm, mcnemar, pairedBootstrap, permutationTest, readPredictions, readTruth, scoreFromLogprobs,
  type McNemar, type Metrics, type TrioMetric,
} from "@dramascope/evaluation";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const golden = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../../../test-fixtures/goldens/evaluation/${name}`, import.meta.url), "utf8")) as T;
const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;

/** Numbers anywhere in two structures agree to 1e-9 relative, everything else exactly. */
function agree(actual: unknown, expected: unknown, where = ""): void {
  if (typeof expected === "number" && typeof actual === "number") expect(Math.abs(actual - expected), where).toBeLessThanOrEqual(1e-9 * Math.max(1, Math.abs(expected)));
  else if (typeof expected === "object" && expected !== null) for (const [key, value] of Object.entries(expected)) agree((actual as Record<string, unknown>)[key], value, `${where}.${key}`);
  else expect(actual, where).toEqual(expected);
}

describe("metrics", () => {
  it.each(golden<{ name: string; gold: number[]; pred: number[]; expect: Metrics }[]>("metrics.json"))("$name", ({ gold, pred, expect: expected }) => agree(computeMetrics(gold, pred), expected));

  it("coverage", () => {
    for (const { gold, pred, expect: expected } of golden<{ gold: number[]; pred: (number | null)[]; expect: object }[]>("coverage.json")) agree(computeCoverage(gold, pred), expected);
  });

  it("does not depend on the order of items, and holds the error identity", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.double({ min: 1, max: 5, noNaN: true })), { minLength: 2, maxLength: 60 }), (items) => {
        const forward = computeMetrics(items.map(([g]) => g), items.map(([, p]) => p));
        const backward = computeMetrics(items.map(([g]) => g).reverse(), items.map(([, p]) => p).reverse());
        agree(backward, forward);
        const { mse, sdGold, sdPred, bias, pcc } = forward;
        if (pcc !== null) expect(Math.abs(sdGold! ** 2 + sdPred! ** 2 + bias! ** 2 - 2 * pcc * sdGold! * sdPred! - mse!)).toBeLessThan(1e-9);
      }),
    );
  });
});

interface Resampling {
  below1000: { seed: number; values: number[] };
  below3e9: { seed: number; values: number[] };
  bootstrap: { gold: number[]; pred: number[]; B: number; seed: number; stratify: boolean; expect: Record<TrioMetric, { mean: number; lo: number; hi: number; undefined: number }> }[];
  paired: { gold: number[]; a: number[]; b: number[]; mcnemar: McNemar; exact?: Record<TrioMetric, { difference: number; p: number }>; seeded?: Partial<Record<TrioMetric, { difference: number; p: number }>> }[];
  holm: { p: number[]; adjusted: number[] }[];
}

describe("resampling", () => {
  const data = golden<Resampling>("resampling.json");
  it("draws the reference integers", () => {
    for (const [n, { seed, values }] of [[1000, data.below1000], [3e9, data.below3e9]] as const) {
      const random = createRandom(seed);
      expect(values.map(() => random.below(n))).toEqual(values);
    }
  });

  it("bootstraps exactly for the seed", () => {
    for (const { gold, pred, B, seed, stratify, expect: expected } of data.bootstrap) {
      const intervals = bootstrapCi(gold, pred, { replicates: B, seed, stratify });
      for (const [metric, { mean, lo, hi, undefined: missing }] of Object.entries(expected)) agree(intervals[metric as TrioMetric], { mean, low: lo, high: hi, undefined: missing }, metric);
    }
  });

  it("tests pairs", () => {
    for (const { gold, a, b, mcnemar: expected, exact, seeded } of data.paired) {
      agree(mcnemar({ gold, a, b }), expected);
      for (const metric of ["accuracy", "mse", "pcc"] as const) {
        if (exact) agree(permutationTest({ gold, a, b }, { metric, exact: true }), exact[metric], `exact ${metric}`);
        if (seeded?.[metric]) agree(permutationTest({ gold, a, b }, { metric, replicates: gold.length > 100 ? 499 : 999, seed: 11 }), seeded[metric], `seeded ${metric}`);
      }
    }
    for (const { p, adjusted } of data.holm) agree(holm(p), adjusted);
  });

  it("finds a clear gain and no gain where there is none", () => {
    const random = createRandom(5);
    const gold = Array.from({ length: 300 }, (_, i) => 1 + (i % 5));
    const noisy = (share: number): number[] => gold.map((value) => (random.uniform() < share ? 1 + random.below(5) : value));
    const [a, b, c] = [noisy(0.8), noisy(0.3), noisy(0.8)];
    expect(pairedBootstrap({ gold, a, b }, { metric: "pcc", seed: 1 }).low!).toBeGreaterThan(0.2);
    const none = pairedBootstrap({ gold, a, b: c }, { metric: "pcc", seed: 1 });
    expect(none.low! < 0 && none.high! > 0).toBe(true);
    expect(pairedBootstrap({ gold, a, b: a }, { metric: "pcc" })).toMatchObject({ difference: 0, low: 0, high: 0 });
  });
});

describe("scores", () => {
  const data = golden<{ logprobs: { logprobs: (number | null)[]; mass: number; p: number[] | null; expected: number | null; std: number | null }[]; conformal: { residuals: number[]; alpha: number; q: number | null }[] }>("calibration.json");
  it("from log-probabilities", () => {
    for (const { logprobs, ...expected } of data.logprobs) {
      const score = scoreFromLogprobs(logprobs, { minMass: 0 });
      agree(score, Object.fromEntries(Object.entries(expected).filter(([key]) => ["mass", "p", "expected", "std"].includes(key))));
    }
    expect(scoreFromLogprobs([-5, -5, -5, -5, -5]).expected).toBeNull();
  });

  it("conformal quantiles", () => {
    for (const { residuals, alpha, q } of data.conformal) expect(conformalQuantile(residuals, alpha)).toBe(q);
  });
});

describe("evaluate", () => {
  const truth = new Map(Array.from({ length: 50 }, (_, i): [string, number] => [`73000000000000${i}`, 1 + (i % 5)]));

  it("never gets better by leaving an answer out", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 50, maxLength: 50 }), fc.integer({ min: 0, max: 49 }), (answers, left) => {
        const all = new Map([...truth.keys()].map((id, i): [string, number] => [id, answers[i]!]));
        const some = new Map(all);
        some.delete([...truth.keys()][left]!);
        const accuracy = (predictions: Map<string, number>): number => evaluate(truth, predictions, { replicates: 2 }).metrics.accuracy!;
        expect(accuracy(some)).toBeLessThanOrEqual(accuracy(all));
      }),
      { numRuns: 30 },
    );
  });

  it("prints the authors' three figures, with their rules", () => {
    const predictions = new Map([...truth].map(([id, value]): [string, number] => [id, value === 5 ? 4 : value]));
    expect(evaluate(truth, predictions, { compat: "authors", replicates: 2 }).compat).toEqual({ n: 50, accuracy: "0.8000", mse: "0.2000", pcc: "0.9701" });
    expect(() => evaluate(truth, new Map([["x", 1]]), { compat: "authors" })).toThrow(code("NO_OVERLAP"));
    expect(() => evaluate(truth, new Map([["730000000000000", 1.5]]), { compat: "authors" })).toThrow(code("NON_INTEGER"));
  });

  it("says what answering without looking would score", () => {
    expect(baselines([...truth.values()])).toEqual({ always3: { accuracy: 0.2, mse: 2 }, majority: { label: 1, accuracy: 0.2, mse: 6 }, random: { accuracy: 0.2, mse: 4 } });
    const report = evaluate(truth, new Map([...truth.keys()].map((id) => [id, 3])), { replicates: 10 });
    expect(report.metrics.pcc).toBeNull();
    expect(report.undefined["pcc"]).toBe("constant-prediction");
    expect(report.warnings[0]).toContain("low-entropy");
    expect(JSON.stringify(report)).not.toMatch(/NaN|Infinity/u);
  });

  it("reads JSON and JSONL, ids beyond 2^53 included, and refuses doubled ids", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-eval-"));
    const write = async (name: string, text: string): Promise<string> => {
      await writeFile(join(folder, name), text);
      return join(folder, name);
    };
    expect(await readTruth(await write("t.json", '{"7300000000000000001": 4, "7300000000000000002": 5}'))).toEqual(new Map([["7300000000000000001", 4], ["7300000000000000002", 5]]));
    expect(await readPredictions(await write("p.jsonl", '{"dramaId":"a","score":3.5,"quality":4}\n{"dramaId":"b","score":null}\n'))).toEqual(new Map<string, number | null>([["a", 3.5], ["b", null]]));
    await expect(readTruth(await write("d.json", '{"a":1,"a":2}'))).rejects.toThrow(code("DUPLICATE_ID"));
    await expect(readPredictions(await write("d.jsonl", '{"dramaId":"a"}\n{"dramaId":"a"}\n'))).rejects.toThrow(code("DUPLICATE_ID"));
    await expect(readTruth(await write("s.json", '{"a":"4"}'))).rejects.toThrow(code("GOLD_INVALID"));
  });
});

it("shows code that runs in the README", () => {
  const readme = /```ts\n([\s\S]*?)```/u.exec(readFileSync(new URL("../README.md", import.meta.url), "utf8"))![1]!;
  const output = execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", readme], { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8" });
  expect(output.trim()).toBe("0.8 0.6 2 0.225");
});
