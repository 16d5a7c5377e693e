import type { Body, Ops } from "@dramascope/tensorflow";
import { gradientsByTensorFlow, type Forward } from "@dramascope/tensorflow/testing";
import type { Tensor } from "@dramascope/qwen-vl";
import { createRandom } from "@dramascope/schema";
import { describe, expect, it } from "vitest";
import { embed } from "../../src/ops/embed.ts";
import { headLogits, placeTargets, scoreRows, scoreRowsVjp, vocabParts, type VocabScoring } from "../../src/ops/log-prob.ts";
import { rmsNorm } from "../../src/ops/elementwise.ts";
import { linear } from "../../src/ops/linear.ts";
import { decoderBlock, decoderBlockVjp, feedForward, linearInputs, rotateRows } from "../../src/text/decoder.ts";
import { fromHeads, toHeads } from "../../src/text/heads.ts";
import { visionBlock, visionBlockVjp } from "../../src/vision/block.ts";
import type { Reference } from "../support.ts";
import { onWasm } from "./on-wasm.ts";
import { fromHost, type HostTensor } from "./record.ts";
import { replay, resultDifference } from "./replay.ts";

/** A body as only a large model, or a long prompt, has it. */
interface Case {
  name: string;
  inputs: Record<string, HostTensor>;
  forward: Forward;
  /** Gradients by name of the input, for the input `dy`; absent where nothing is trained. */
  backward?: Body;
  wrt: string[];
  /** What runs on wasm, where the backward of many scores takes seconds. Default all. */
  onWasm?: "forward";
}

const random = createRandom(17);
const drawn = (shape: readonly number[], scale = 1): HostTensor => ({ shape, dtype: "float32", values: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => scale * random.normal()) });
const linears = (sizes: Readonly<Record<string, readonly [number, number]>>, biases: RegExp): Record<string, HostTensor> =>
  Object.fromEntries(Object.entries(sizes).flatMap(([name, [from, to]]) => [[`${name}.weight`, drawn([from, to], 0.3)], ...(biases.test(name) ? [[`${name}.bias`, drawn([to], 0.3)]] : [])]) as [string, HostTensor][]);

function angles(rows: number, width: number): Record<string, HostTensor> {
  const angle = drawn([rows, width], 3);
  const of = (f: (x: number) => number): HostTensor => ({ ...angle, values: Float32Array.from(angle.values, f) });
  return { cos: of(Math.cos), sin: of(Math.sin) };
}

const blocks = [drawn([40, 8]), drawn([40, 8]), drawn([13, 8])];
const inBlocks = (name: string, tensors: readonly HostTensor[]): Record<string, HostTensor> => Object.fromEntries(tensors.map((tensor, i) => [`${name}.${i}`, tensor]));
const turned = blocks.map(({ shape, values }): HostTensor => ({ shape: [...shape].reverse(), dtype: "float32", values }));

const headOf = <V>(v: Readonly<Record<string, V>>, tied: boolean) => ({ blocks: [v["head.0"]!, v["head.1"]!, v["head.2"]!], tied });

function head(tied: boolean): Case {
  return {
    name: `an output matrix in three blocks, ${tied ? "that of the embedding" : "of its own"}`,
    inputs: { x: drawn([5, 8]), ...inBlocks("head", tied ? blocks : turned) },
    forward: (ops, v) => headLogits(ops, v["x"]!, headOf(v, tied)),
    wrt: [],
  };
}

/** Targets by part as inputs of a body. */
function placed(ids: readonly number[], parts: ReturnType<typeof vocabParts>): Record<string, HostTensor> {
  return Object.fromEntries(parts.flatMap((part, i): [string, HostTensor][] => {
    const { columns, inside } = placeTargets(Int32Array.from(ids), part);
    return [[`columns.${i}`, { shape: [ids.length], dtype: "int32", values: columns }], [`inside.${i}`, { shape: [ids.length], dtype: "float32", values: inside }]];
  }));
}

function scored(tied: boolean): Case {
  const parts = vocabParts([40, 40, 13], 16);
  const scoring = <V>(v: Readonly<Record<string, V>>): VocabScoring<V> => ({ head: headOf(v, tied), parts, targets: parts.map((_, i) => ({ columns: v[`columns.${i}`]!, inside: v[`inside.${i}`] })), temperature: 0.7 });
  return {
    name: `tokens scored over parts of a vocabulary, whose matrix is ${tied ? "that of the embedding" : "of its own"},`,
    inputs: { x: drawn([6, 8], 3), ...inBlocks("head", tied ? blocks : turned), ...placed([0, 15, 16, 39, 40, 92], parts), dy: drawn([6]) },
    forward: (ops, v) => scoreRows(ops, v["x"]!, scoring(v), { entropy: false }).logProbs,
    backward: (ops, v) => ({ x: scoreRowsVjp(ops, v["x"]!, scoring(v), { logZ: scoreRows(ops, v["x"]!, scoring(v), { entropy: false }).logZ, g: v["dy"]! }, { matrix: false }).x }),
    wrt: ["x"],
  };
}

function longPrompt(): Case {
  const layout = { prompts: 1, promptRows: 2048, completions: 2, completionRows: 16 };
  const shape = { heads: 4, kvHeads: 2, headDim: 4, eps: 1e-6, loraScales: {}, queryChunk: 512 };
  const rows = 2080;
  const sizes = { q_proj: [8, 16], k_proj: [8, 8], v_proj: [8, 8], o_proj: [16, 8], gate_proj: [8, 12], up_proj: [8, 12], down_proj: [12, 8] } as const;
  const hidden = new Float32Array(2048).fill(-1e9, 2040);
  return {
    name: "a decoder layer over a prompt whose scores are computed piece by piece",
    inputs: {
      x: drawn([rows, 8]), ...angles(rows, 2), prefixBias: { shape: [1, 2048], dtype: "float32", values: hidden }, ...linears(sizes, /^[qkv]_/u),
      "input_layernorm.weight": drawn([8]), "post_attention_layernorm.weight": drawn([8]), dy: drawn([rows, 8]),
    },
    forward: (ops, v) => decoderBlock(ops, v, shape, layout).y,
    backward: (ops, v) => decoderBlockVjp(ops, v, shape, layout, { x: true, parameters: new Set(["q_proj.bias", "v_proj.bias", "input_layernorm.weight"]) }),
    wrt: ["x", "q_proj.bias", "v_proj.bias", "input_layernorm.weight"],
    onWasm: "forward",
  };
}

/** Two prompts whose heads are attended one by one, against each prompt by itself, whose heads are few enough to go together. */
function twoPrompts(): Case {
  const [promptRows, completions, completionRows] = [1024, 2, 16];
  const own = completions * completionRows;
  const shape = { heads: 2, kvHeads: 1, headDim: 4, eps: 1e-6, loraScales: {}, queryChunk: 512 };
  const sizes = { q_proj: [8, 8], k_proj: [8, 4], v_proj: [8, 4], o_proj: [8, 8], gate_proj: [8, 12], up_proj: [8, 12], down_proj: [12, 8] } as const;
  const prefixBias = new Float32Array(2 * promptRows).fill(-1e9, 2 * promptRows - 24);
  return {
    name: "a decoder layer over two prompts",
    inputs: {
      x: drawn([2 * (promptRows + own), 8]), ...angles(2 * (promptRows + own), 2), prefixBias: { shape: [2, promptRows], dtype: "float32", values: prefixBias }, ...linears(sizes, /^[qkv]_/u),
      "input_layernorm.weight": drawn([8]), "post_attention_layernorm.weight": drawn([8]), dy: drawn([2 * (promptRows + own), 8]),
    },
    forward: (ops, v) => {
      const alone = [0, 1].map((b) => {
        const rows = (name: string) => {
          const width = ops.shape(v[name]!)[1]!;
          return ops.concat([ops.slice(v[name]!, [b * promptRows, 0], [promptRows, width]), ops.slice(v[name]!, [2 * promptRows + b * own, 0], [own, width])], 0);
        };
        const given = { ...v, x: rows("x"), cos: rows("cos"), sin: rows("sin"), prefixBias: ops.slice(v["prefixBias"]!, [b, 0], [1, promptRows]) };
        return ops.split(decoderBlock(ops, given, shape, { prompts: 1, promptRows, completions, completionRows }).y, [promptRows, own], 0);
      });
      return ops.concat([alone[0]![0]!, alone[1]![0]!, alone[0]![1]!, alone[1]![1]!], 0);
    },
    backward: (ops, v) => decoderBlockVjp(ops, v, shape, { prompts: 2, promptRows, completions, completionRows }, { x: true, parameters: new Set(["q_proj.bias", "k_proj.bias", "v_proj.bias"]) }),
    wrt: ["x", "q_proj.bias", "k_proj.bias", "v_proj.bias"],
    onWasm: "forward",
  };
}

/** Rows of a prompt and of two completions that follow it; the forward computes what is live densely, and the prefix from copies of its parameters. */
function constantPrefix(): Case {
  const [promptRows, known, completions, completionRows] = [16, 13, 2, 16];
  const layout = { prompts: 1, promptRows, completions, completionRows, live: "last" } as const;
  const shape = { heads: 4, kvHeads: 2, headDim: 4, eps: 1e-6, loraScales: {}, queryChunk: 512 };
  const own = completions * completionRows;
  const live = 1 + own;
  const sizes = { q_proj: [8, 16], k_proj: [8, 8], v_proj: [8, 8], o_proj: [16, 8], gate_proj: [8, 12], up_proj: [8, 12], down_proj: [12, 8] } as const;
  const x = drawn([promptRows + own, 8]);
  const parameters = { ...linears(sizes, /^[qkv]_/u), "input_layernorm.weight": drawn([8]), "post_attention_layernorm.weight": drawn([8]) };
  const isLive = (row: number): boolean => row === known - 1 || row >= promptRows;
  const mask = Float32Array.from({ length: live * 2 * (promptRows + own) }, (_, at) => {
    const [row, column] = [Math.floor(at / (promptRows + own) / 2) - 1, at % (promptRows + own)];
    const key = column - promptRows;
    const isSeen = key < 0 ? column < known : row >= 0 && Math.floor(key / completionRows) === Math.floor(row / completionRows) && key <= row;
    return isSeen ? 0 : -1e9;
  });
  return {
    name: "a decoder layer whose prefix is constant",
    inputs: {
      x, live: { ...x, shape: [live, 8], values: (x.values as Float32Array).filter((_, i) => isLive(Math.floor(i / 8))) }, ...angles(promptRows + own, 2), ...parameters,
      ...Object.fromEntries(Object.entries(parameters).map(([name, value]) => [`constant/${name}`, value])),
      prefixBias: { shape: [1, promptRows], dtype: "float32", values: new Float32Array(promptRows).fill(-1e9, known) }, last: { shape: [1], dtype: "int32", values: Int32Array.of(known - 1) }, dy: drawn([live, 8]),
    },
    forward: (ops, v) => {
      const rows = (all: string, from: number, count: number) => ops.slice(v[all]!, [from, 0], [count, ops.shape(v[all]!)[1]!]);
      const copies = Object.fromEntries(Object.entries(v).flatMap(([name, value]) => (name.startsWith("constant/") ? [[name.slice("constant/".length), value]] : [])));
      const prompt = { ...copies, x: rows("x", 0, promptRows), cos: rows("cos", 0, promptRows), sin: rows("sin", 0, promptRows) };
      const { keys, values } = decoderBlock(ops, prompt, shape, { prompts: 1, promptRows, completions: 0, completionRows: 0 }).prefix;
      const norm = rmsNorm(ops, v["live"]!, v["input_layernorm.weight"]!, shape.eps);
      const completion = ops.slice(norm, [1, 0], [own, 8]);
      const project = (name: string, of: typeof norm) => linear(ops, of, linearInputs(v, name, {}));
      const turned = (name: string, of: typeof norm, heads: number, turn: (angle: string) => typeof norm) => rotateRows(ops, project(name, of), heads, turn("cos"), turn("sin"));
      const q = ops.mul(turned("q_proj", norm, 4, (angle) => ops.concat([rows(angle, known - 1, 1), rows(angle, promptRows, own)], 0)), ops.scalar(0.5));
      const k = ops.concat([keys, toHeads(ops, turned("k_proj", completion, 2, (angle) => rows(angle, promptRows, own)), 1, 2)], 1);
      const scores = ops.batchMatmul(ops.reshape(toHeads(ops, q, 1, 2), [2, live * 2, 4]), k, { transposeB: true });
      const p = ops.softmax(ops.add(scores, ops.constant(mask, [1, live * 2, promptRows + own])));
      const attended = ops.batchMatmul(p, ops.concat([values, toHeads(ops, project("v_proj", completion), 1, 2)], 1));
      return feedForward(ops, v, shape, v["live"]!, fromHeads(ops, ops.reshape(attended, [2, live, 8]), 1, live, 2)).y();
    },
    backward: (ops, v) => {
      const { x: dLive, ...rest } = decoderBlockVjp(ops, v, shape, layout, { x: true, parameters: new Set(["q_proj.bias", "k_proj.bias", "v_proj.bias", "input_layernorm.weight"]) }, { prefix: "constant" });
      return { live: dLive!, ...rest };
    },
    wrt: ["live", "q_proj.bias", "k_proj.bias", "v_proj.bias", "input_layernorm.weight"],
  };
}

function largeFrames(): Case {
  const patches = 1500;
  const shape = { frames: 4, patches, heads: 2, headDim: 4, runs: [{ first: 0, count: 1, size: patches }], loraScales: {}, queryChunk: 512 };
  const sizes = { "attn.qkv": [8, 24], "attn.proj": [8, 8], "mlp.gate_proj": [8, 12], "mlp.up_proj": [8, 12], "mlp.down_proj": [12, 8] } as const;
  return {
    name: "a block of the tower over frames whose scores are computed piece by piece",
    inputs: { x: drawn([4 * patches, 8]), ...angles(patches, 2), ...linears(sizes, /./u), "norm1.weight": drawn([8]), "norm2.weight": drawn([8]), dy: drawn([4 * patches, 8]) },
    forward: (ops, v) => visionBlock(ops, v, shape).y,
    backward: (ops, v) => visionBlockVjp(ops, v, shape, { x: true, parameters: new Set(["attn.qkv.bias", "norm1.weight"]) }),
    wrt: ["x", "attn.qkv.bias", "norm1.weight"],
    onWasm: "forward",
  };
}

const cases: Case[] = [
  {
    name: "an embedding in three blocks",
    inputs: { ...inBlocks("table", blocks), ids: { shape: [7], dtype: "int32", values: Int32Array.of(0, 39, 40, 79, 80, 92, 41) } },
    forward: (ops, v) => embed(ops, [v["table.0"]!, v["table.1"]!, v["table.2"]!], v["ids"]!),
    wrt: [],
  },
  head(true),
  head(false),
  scored(true),
  scored(false),
  longPrompt(),
  twoPrompts(),
  constantPrefix(),
  largeFrames(),
];

/** Bodies that the reference model is too small for. */
export function largeTests({ tf }: Reference): void {
  describe.each(cases.map((one) => [one.name, one] as const))("%s", (name, { inputs, forward, backward, wrt, onWasm: there }) => {
    it("gives the same compiled, operation by operation and on wasm, and TensorFlow's own gradients", async () => {
      const { dy, ...own } = inputs;
      const record = (body: Body, given: Record<string, HostTensor>) => ({ key: name, body, tf, products: "bfloat16" as const, inputs: given });
      const todo = [record((ops, v) => ({ y: forward(ops, v) }), own), ...(backward ? [record(backward, inputs)] : [])];
      const results = todo.map((one) => replay(one, one.inputs, "compiled"));
      for (const [i, one] of todo.entries()) {
        expect(resultDifference(replay(one, one.inputs, "eager"), results[i]!)).toBeLessThan(1e-5);
        if (i > 0 && there === "forward") continue;
        expect(await onWasm(tf, () => resultDifference(replay(one, one.inputs, "eager"), results[i]!))).toBeLessThan(1e-5);
      }
      if (wrt.length === 0) return;
      const given = Object.fromEntries(Object.entries(own).map(([key, tensor]) => [key, fromHost(tf, tensor) as Tensor]));
      const gradient = fromHost(tf, dy!) as Tensor;
      const gradients = gradientsByTensorFlow(tf, forward, given, wrt, gradient);
      const expected = Object.fromEntries(wrt.map((key, i) => [key, { shape: gradients[i]!.shape, dtype: "float32" as const, values: gradients[i]!.dataSync<"float32">() }]));
      const actual = results[1]!;
      expect(resultDifference(Object.fromEntries(wrt.map((key) => [key, actual[key]!])), expected)).toBeLessThan(1e-5);
      tf.dispose([given, gradient, gradients]);
    });
  });

  it("64 tokens of a vocabulary of 50,000 are scored, forth and back, without logits of them all at once", () => {
    const [n, vocab, most] = [64, 50_000, 8192];
    const parts = vocabParts([30_000, 20_000], most);
    const ids = Array.from({ length: n }, (_, i) => (i * 793) % vocab);
    let largest = 0;
    /** The same operations, which say how large a value they give. */
    const watched = <V>(ops: Ops<V>): Ops<V> => {
      const noted = (x: unknown): void => [x].flat().forEach((one) => (largest = Math.max(largest, ops.shape(one as V).reduce((a, b) => a * b, 1))));
      return Object.fromEntries(Object.entries(ops as unknown as Record<string, (...given: unknown[]) => unknown>).map(([name, operation]) => [name, (...given: unknown[]) => {
        const result = operation(...given);
        if (name !== "shape" && name !== "dtype" && name !== "scope") noted(result);
        return result;
      }])) as unknown as Ops<V>;
    };
    const inputs = { x: drawn([n, 8]), "head.0": drawn([30_000, 8]), "head.1": drawn([20_000, 8]), g: drawn([n]), ...placed(ids, parts) };
    const inParts: Body = (ops, v) => {
      const scoring = { head: { blocks: [v["head.0"]!, v["head.1"]!], tied: true }, parts, targets: parts.map((_, i) => ({ columns: v[`columns.${i}`]!, inside: v[`inside.${i}`] })), temperature: 1 };
      const { logProbs, logZ, entropy, best } = scoreRows(watched(ops), v["x"]!, scoring, { entropy: true });
      return { logProbs, entropy: entropy(), best: best(), dx: scoreRowsVjp(watched(ops), v["x"]!, scoring, { logZ, g: v["g"]! }, { matrix: false }).x };
    };
    const whole: Body = (ops, v) => {
      const matrix = ops.concat([v["head.0"]!, v["head.1"]!], 0);
      const table = ops.logSoftmax(ops.matmul(v["x"]!, matrix, { transposeB: true }));
      const hits = ops.oneHot(ops.constant(Int32Array.from(ids), [n], "int32"), vocab);
      const dLogits = ops.mul(ops.sub(hits, ops.exp(table)), ops.reshape(v["g"]!, [n, 1]));
      return { logProbs: ops.sum(ops.mul(table, hits), [1]), entropy: ops.neg(ops.sum(ops.mul(ops.exp(table), table), [1])), best: ops.max(table, [1]), dx: ops.matmul(dLogits, matrix) };
    };
    const expected = replay({ key: "whole", body: whole, tf, products: "bfloat16" }, inputs, "compiled");
    for (const mode of ["compiled", "eager"] as const) expect(resultDifference(replay({ key: "parts", body: inParts, tf, products: "bfloat16" }, inputs, mode), expected)).toBeLessThan(1e-5);
    expect(largest).toBe(n * most);
  });

  it("an embedding in three blocks gives the rows of the whole", () => {
    const { inputs, forward } = cases[0]!;
    const whole = blocks.flatMap(({ values }) => [...values]);
    const { y } = replay({ key: "embed", body: (ops, v) => ({ y: forward(ops, v) }), tf, products: "bfloat16" }, inputs, "compiled");
    expect([...y!.values]).toEqual([...inputs["ids"]!.values].flatMap((id) => whole.slice(id * 8, id * 8 + 8)));
  });
}
