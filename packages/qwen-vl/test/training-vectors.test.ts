import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { rmsNorm, rmsNormVjp, rotate, swiglu, swigluVjp } from "../src/ops/elementwise.ts";
import { linear, linearsVjp } from "../src/ops/linear.ts";
import { placeTargets, scoreRows, scoreRowsVjp, vocabParts, type VocabScoring } from "../src/ops/log-prob.ts";
import { sharedPrefixAttention, sharedPrefixAttentionVjp } from "../src/text/shared-prefix.ts";
import { startValues } from "../src/train/lora.ts";
import { doubleOps as ops, doubles, type Doubles } from "./double-ops.ts";

const golden = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../../../test-fixtures/goldens/trainer/${name}`, import.meta.url), "utf8")) as T;

/** The bodies of the model, in doubles, against float64 autograd: 1e-9 absolute and relative. */
function same(actual: Doubles, nested: unknown, where: string): void {
  const expected = doubles(nested);
  expect(actual.shape.filter((side) => side !== 1), where).toEqual(expected.shape.filter((side) => side !== 1));
  expected.values.forEach((value, i) => expect(Math.abs(actual.values[i]! - value), `${where}[${i}]`).toBeLessThanOrEqual(1e-9 * (1 + Math.abs(value))));
}

describe("operations and their backward passes", () => {
  const { ops: cases } = golden<{ ops: {
    rmsNorm: { eps: number; x: unknown; weight: unknown; dy: unknown; y: unknown; dx: unknown; dweight: unknown };
    swiglu: { gate: unknown; up: unknown; dy: unknown; y: unknown; dgate: unknown; dup: unknown };
    rope: { theta: number; sections: [number, number, number]; positions: [number[], number[], number[]]; x: unknown; dy: unknown; y: unknown; dx: unknown };
    prefixAttention: { heads: number; kvHeads: number; headDim: number; prefix: number; completions: number; completionLength: number; lengths: number[]; q: unknown; k: unknown; v: unknown; do: unknown; out: unknown; dq: unknown; dk: unknown; dv: unknown };
  } }>("ops.json");

  it("rmsNorm", () => {
    const { eps, x, weight, dy, y, dx, dweight } = cases.rmsNorm;
    same(rmsNorm(ops, doubles(x), doubles(weight), eps), y, "y");
    const gradients = rmsNormVjp(ops, doubles(x), doubles(weight), eps, doubles(dy), true);
    same(gradients.x, dx, "dx");
    same(gradients.weight!, dweight, "dweight");
  });

  it("swiglu", () => {
    const { gate, up, dy, y, dgate, dup } = cases.swiglu;
    same(swiglu(ops, doubles(gate), doubles(up)), y, "y");
    const gradients = swigluVjp(ops, doubles(gate), doubles(up), doubles(dy));
    same(gradients.gate, dgate, "dgate");
    same(gradients.up, dup, "dup");
  });

  it("rope over three position axes", () => {
    const { theta, sections, positions, x, dy, y, dx } = cases.rope;
    const axes = sections.flatMap((count, axis) => new Array<number>(count).fill(axis));
    const angles = positions[0].map((_, row) => [axes.map((axis, k) => positions[axis as 0 | 1 | 2][row]! * theta ** (-k / axes.length))]);
    const of = (f: (angle: number) => number): Doubles => doubles(angles.map(([row]) => [row!.map(f)]));
    same(rotate(ops, doubles(x), of(Math.cos), of(Math.sin)), y, "y");
    same(rotate(ops, doubles(dy), of(Math.cos), of(Math.sin), true), dx, "dx");
  });

  it.each([512, 3, 1])("attention over a shared prefix, %d query rows at once", (queryChunk) => {
    const { heads, kvHeads, headDim, prefix, completions, completionLength, lengths, q, k, v, do: dOut, out, dq, dk, dv } = cases.prefixAttention;
    const rows = prefix + completions * completionLength;
    const shape = { heads, kvHeads, headDim };
    const layout = { prompts: 1, promptRows: prefix, completions, completionRows: completionLength };
    const flat = (x: unknown, width: number): Doubles => ({ ...doubles(x), shape: [rows, width] });
    const scale = ops.scalar(1 / Math.sqrt(headDim));
    const { output, saved } = sharedPrefixAttention(ops, { q: ops.mul(flat(q, heads * headDim), scale), k: flat(k, kvHeads * headDim), v: flat(v, kvHeads * headDim) }, shape, layout, queryChunk);
    // Rows of padding are not compared; their gradient is 0 in the reference.
    const real = (x: Doubles): Doubles => ({ ...x, values: x.values.map((value, i) => {
      const row = Math.floor(i / (x.values.length / rows)) - prefix;
      return row < 0 || row % completionLength < lengths[Math.floor(row / completionLength)]! ? value : 0;
    }) });
    const shaped = (x: Doubles, n: number): Doubles => ({ ...x, shape: [rows, n, headDim] });
    same(shaped(real(output), heads), realOf(out), "out");
    const gradients = sharedPrefixAttentionVjp(ops, saved, output, real(flat(dOut, heads * headDim)), shape, layout);
    same(shaped(ops.mul(gradients.q, scale), heads), dq, "dq");
    same(shaped(gradients.k, kvHeads), dk, "dk");
    same(shaped(gradients.v, kvHeads), dv, "dv");

    function realOf(nested: unknown): unknown {
      const { shape: sides, values } = real(flat(nested, heads * headDim));
      return Array.from({ length: sides[0]! }, (_, row) => Array.from({ length: heads }, (_head, h) => Array.from(values.subarray((row * heads + h) * headDim, (row * heads + h + 1) * headDim))));
    }
  });

  it.each(golden<{ linear: { r: number; alpha: number; useRslora: boolean; scaling: number; W: number[][]; bias: unknown; A: unknown; B: unknown; x: unknown; dy: unknown; y: unknown; dx: unknown; dA: unknown; dB: unknown; mergedWeight: unknown }[] }>("lora.json").linear)("a linear with an adapter of rank $r, alpha $alpha, rsLoRA $useRslora", ({ r, alpha, useRslora, scaling, W, bias, A, B, x, dy, y, dx, dA, dB, mergedWeight }) => {
    const scale = alpha / (useRslora ? Math.sqrt(r) : r);
    expect(scale).toBeCloseTo(scaling, 12);
    const weight = ops.transpose(doubles(W), [1, 0]);
    const layer = { weight, bias: doubles(bias), lora: { a: doubles(A), b: doubles(B), scale } };
    same(linear(ops, doubles(x), layer), y, "y");
    const gradients = linearsVjp(ops, doubles(x), [{ values: layer, dy: doubles(dy), wants: { weight: false, bias: false, lora: true } }], true);
    same(gradients.x!, dx, "dx");
    same(gradients.parts[0]!.a!, dA, "dA");
    same(gradients.parts[0]!.b!, dB, "dB");
    const update = ops.matmul(layer.lora.a, layer.lora.b, { transposeA: true, transposeB: true });
    same(ops.transpose(ops.add(weight, ops.mul(update, ops.scalar(scale))), [1, 0]), mergedWeight, "merged");
  });
});

describe("a fresh adapter", () => {
  interface Start { inFeatures: number; r: number; accept: { maxAbs: number; minMaxAbs: number; meanAbsMax: number; stdRel: number }; theoreticalStd: number }
  it.each(golden<{ init: Start[] }>("lora.json").init)("of rank $r over $inFeatures inputs is spread as PEFT's", ({ inFeatures, r, accept, theoreticalStd }) => {
    const values = startValues("model.language_model.layers.0.self_attn.q_proj", r, inFeatures, 1);
    expect(values).toHaveLength(r * inFeatures);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const std = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
    expect(largest).toBeLessThanOrEqual(accept.maxAbs);
    expect(largest).toBeGreaterThanOrEqual(accept.minMaxAbs);
    expect(Math.abs(mean)).toBeLessThanOrEqual(accept.meanAbsMax);
    expect(Math.abs(std / theoreticalStd - 1)).toBeLessThanOrEqual(accept.stdRel);
  });
});

/** An output matrix in blocks, scored in parts of at most `most` ids. */
function scoringOf(blocks: readonly number[][][], targets: readonly number[], temperature: number, most: number): VocabScoring<Doubles> {
  const parts = vocabParts(blocks.map(({ length }) => length), most);
  return {
    head: { tied: true, blocks: blocks.map(doubles) }, parts, temperature,
    targets: parts.map((part) => {
      const { columns, inside } = placeTargets(Int32Array.from(targets), part);
      return { columns: doubles(Array.from(columns)), inside: parts.length === 1 ? undefined : doubles(Array.from(inside)) };
    }),
  };
}

describe("log-probabilities", () => {
  interface Case { temperature: number; hiddenScale: number; entropyInLoss: boolean; logp: unknown; entropy: unknown; dhidden: unknown; dweight: unknown }
  const { hidden, weight, targets, gLogp, cases } = golden<{ hidden: unknown; weight: number[][]; targets: number[]; gLogp: unknown; cases: Case[] }>("logprob.json");
  it.each(cases)("at temperature $temperature, hidden values times $hiddenScale, entropy in the loss: $entropyInLoss", ({ temperature, hiddenScale, entropyInLoss, logp, entropy, dhidden, dweight }) => {
    const rows = ops.mul(doubles(hidden), ops.scalar(hiddenScale));
    for (const [blocks, most] of [[[weight], weight.length], [[weight.slice(0, 8), weight.slice(8)], weight.length], [[weight.slice(0, 8), weight.slice(8)], 3]] as const) {
      const scoring = scoringOf(blocks, targets, temperature, most);
      const scores = scoreRows(ops, rows, scoring, { entropy: true });
      same(scores.logProbs, logp, "logp");
      same(scores.entropy(), entropy, "entropy");
      // No loss of the trainer goes through entropies.
      if (entropyInLoss) continue;
      const gradient = scoreRowsVjp(ops, rows, scoring, { logZ: scores.logZ, g: doubles(gLogp) }, { matrix: true });
      same(gradient.x, dhidden, "dhidden");
      same(ops.concat(gradient.matrix, 0), dweight, "dweight");
    }
  });
});

describe("the loss of SFT", () => {
  interface Part { rows: number[]; numItems: number | null; loss: number; dhidden: number[][][]; tokens: number; correct: number; entropySum: number }
  const { hidden, weight, labels, whole, microBatches, accumulation } = golden<{ hidden: number[][][]; weight: number[][]; labels: number[][]; whole: Part; microBatches: Part[]; accumulation: { window: number; meanOfMeans: number } }>("sft.json");
  /** Mean over `items` tokens of the negative log-likelihood of labels after their positions. */
  function lossOf({ rows, numItems, tokens }: Part) {
    const places = rows.flatMap((row) => labels[row]!.slice(1).flatMap((label, t) => (label === -100 ? [] : [{ row, t, label }])));
    expect(places).toHaveLength(tokens);
    const x = doubles(places.map(({ row, t }) => hidden[row]![t]!));
    const scoring = scoringOf([weight], places.map(({ label }) => label), 1, 5);
    const scores = scoreRows(ops, x, scoring, { entropy: true });
    const items = numItems ?? tokens;
    const dHidden = scoreRowsVjp(ops, x, scoring, { logZ: scores.logZ, g: doubles(places.map(() => -1 / items)) }, { matrix: false }).x;
    const spread = rows.map((row) => hidden[row]!.map((values, t) => {
      const at = places.findIndex((place) => place.row === row && place.t === t);
      return at < 0 ? values.map(() => 0) : Array.from(dHidden.values.subarray(at * values.length, (at + 1) * values.length));
    }));
    const best = scores.best();
    return {
      loss: -scores.logProbs.values.reduce((a, b) => a + b, 0) / items,
      dHidden: doubles(spread),
      correct: places.filter((_, i) => Math.abs(best.values[i]! - scores.logProbs.values[i]!) < 1e-12).length,
      entropySum: scores.entropy().values.reduce((a, b) => a + b, 0),
    };
  }

  it.each([whole, ...microBatches])("of rows $rows with $numItems tokens in the window", (part) => {
    const { loss, dHidden, correct, entropySum } = lossOf(part);
    expect(Math.abs(loss - part.loss)).toBeLessThan(1e-9);
    same(dHidden, part.dhidden, "dhidden");
    expect(correct).toBe(part.correct);
    expect(Math.abs(entropySum - part.entropySum)).toBeLessThan(1e-8);
  });

  it("adds up over micro-batches to that of the window, which is no mean of means", () => {
    const sum = microBatches.reduce((total, part) => total + lossOf(part).loss, 0);
    expect(Math.abs(sum - accumulation.window)).toBeLessThan(1e-9);
    expect(Math.abs(sum - accumulation.meanOfMeans)).toBeGreaterThan(0.1);
  });
});
