import { createRandom } from "@dramascope/schema";
import { bfloat16Support, compile, loadTensorFlow, type Body, type Compiled, type LoadedTensorFlow, type Ops, type TensorSpec } from "@dramascope/tensorflow";
import { decodeBlock, decoderBlockVjp } from "../../packages/qwen-vl/src/text/decoder.ts";
import { median, type Bench } from "./result.ts";

const TRAIN_LIMIT = 0.9;
const DECODE_LIMIT = 0.6;
const [HIDDEN, HEADS, KV_HEADS, HEAD_DIM, WIDE, EPS] = [256, 4, 2, 64, 704, 1e-6];
const HEAD_SHAPE = { heads: HEADS, kvHeads: KV_HEADS, headDim: HEAD_DIM, eps: EPS, loraScales: {} };
const TOKENS = 512;
const [LAYERS, ROWS, CAPACITY, VOCABULARY] = [4, 16, 128, 1024];

type Tf = LoadedTensorFlow["tf"];

/** Sizes of a decoder layer's parameters. */
const LAYER: Readonly<Record<string, readonly number[]>> = {
  "input_layernorm.weight": [HIDDEN],
  "post_attention_layernorm.weight": [HIDDEN],
  "q_proj.weight": [HIDDEN, HEADS * HEAD_DIM],
  "q_proj.bias": [HEADS * HEAD_DIM],
  "k_proj.weight": [HIDDEN, KV_HEADS * HEAD_DIM],
  "k_proj.bias": [KV_HEADS * HEAD_DIM],
  "v_proj.weight": [HIDDEN, KV_HEADS * HEAD_DIM],
  "v_proj.bias": [KV_HEADS * HEAD_DIM],
  "o_proj.weight": [HEADS * HEAD_DIM, HIDDEN],
  "gate_proj.weight": [HIDDEN, WIDE],
  "up_proj.weight": [HIDDEN, WIDE],
  "down_proj.weight": [WIDE, HIDDEN],
};

const floats = (shapes: Readonly<Record<string, readonly number[]>>): Record<string, TensorSpec> => Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, { shape, dtype: "float32" }]));

/** The same operations with products in bfloat16. */
function narrowProducts<V>(ops: Ops<V>): Ops<V> {
  const narrow = (x: V): V => ops.cast(x, "bfloat16");
  return {
    ...ops,
    scope: (name) => narrowProducts(ops.scope(name)),
    matmul: (a, b, options) => ops.cast(ops.matmul(narrow(a), narrow(b), options), "float32"),
    batchMatmul: (a, b, options) => ops.cast(ops.batchMatmul(narrow(a), narrow(b), options), "float32"),
  };
}

/** A body and what goes into it. */
interface Work {
  body: Body;
  specs: Record<string, TensorSpec>;
}

/** One layer over 512 tokens, forward and backward with the gradients of its input and of every parameter. */
function trainingStep(precision: "float32" | "bfloat16"): Work {
  const layout = { prompts: 1, promptRows: TOKENS, completions: 0, completionRows: 0 };
  const wants = { x: true, parameters: new Set(Object.keys(LAYER)) };
  return {
    body: (ops, values) => decoderBlockVjp(precision === "bfloat16" ? narrowProducts(ops) : ops, values, { ...HEAD_SHAPE, queryChunk: TOKENS }, layout, wants),
    specs: floats({ ...LAYER, x: [TOKENS, HIDDEN], dy: [TOKENS, HIDDEN], cos: [TOKENS, HEAD_DIM / 2], sin: [TOKENS, HEAD_DIM / 2] }),
  };
}

/** One token of 16 rows through four layers and the head. */
function decodeStep(): Work {
  const shape = { ...HEAD_SHAPE, prompts: 1, samples: ROWS, promptRows: 8, capacity: CAPACITY };
  const cache = [KV_HEADS * ROWS * CAPACITY, HEAD_DIM];
  const layers = Array.from({ length: LAYERS }, (_, layer) => layer);
  const shared = { prefixBias: [1, 8], ownBias: [CAPACITY], cos: [ROWS, HEAD_DIM / 2], sin: [ROWS, HEAD_DIM / 2] };
  const own = layers.flatMap((layer) => Object.entries({ ...LAYER, prefixKeys: [KV_HEADS, 8, HEAD_DIM], prefixValues: [KV_HEADS, 8, HEAD_DIM], ownKeys: cache, ownValues: cache }).map(([name, size]) => [`${layer}/${name}`, size] as const));
  return {
    body: (ops, values) => {
      const out: Record<string, (typeof values)[string]> = {};
      const common = Object.fromEntries(["slots", ...Object.keys(shared)].map((name) => [name, values[name]!]));
      let x = ops.gather(values["table"]!, values["ids"]!);
      for (const layer of layers) {
        const mine = Object.fromEntries(Object.entries(values).flatMap(([name, value]) => (name.startsWith(`${layer}/`) ? [[name.slice(2), value]] : [])));
        const { y, ownKeys, ownValues } = decodeBlock(ops, { ...common, ...mine, x }, shape);
        out[`${layer}/ownKeys`] = ownKeys;
        out[`${layer}/ownValues`] = ownValues;
        x = y;
      }
      out["next"] = ops.argMax(ops.matmul(x, values["table"]!, { transposeB: true }));
      return out;
    },
    specs: { ...floats({ ...shared, ...Object.fromEntries(own), table: [VOCABULARY, HIDDEN] }), ids: { shape: [ROWS], dtype: "int32" }, slots: { shape: [KV_HEADS * ROWS], dtype: "int32" } },
  };
}

/** Processor milliseconds of one call, calls of both kinds taking turns. */
interface Timed {
  compiled: number[];
  eager: number[];
}

async function takeTurns(tf: Tf, { body, specs }: Work, rounds: number, calls: number): Promise<Timed> {
  const random = createRandom(7);
  const inputs = Object.fromEntries(
    Object.entries(specs).map(([name, { shape, dtype }]) => {
      const count = shape.reduce((a, b) => a * b, 1);
      return [name, dtype === "int32" ? tf.tensor(Int32Array.from({ length: count }, (_, i) => i), [...shape], "int32") : tf.tensor(Float32Array.from({ length: count }, () => 0.05 * random.normal()), [...shape])];
    }),
  );
  const milliseconds = (run: Compiled): number => {
    const from = process.cpuUsage();
    for (let i = 0; i < calls; i++) tf.dispose(run(inputs));
    const { user, system } = process.cpuUsage(from);
    return (user + system) / 1000 / calls;
  };
  const compiled = compile(tf, "bench", specs, body);
  const eager = compile(tf, "bench", specs, body, { mode: "eager" });
  for (const run of [compiled, eager]) milliseconds(run);
  const timed: Timed = { compiled: [], eager: [] };
  for (let round = 0; round < rounds; round++) {
    timed.compiled.push(milliseconds(compiled));
    timed.eager.push(milliseconds(eager));
    await new Promise(setImmediate);
  }
  compiled.dispose();
  eager.dispose();
  tf.dispose(inputs);
  return timed;
}

const least = (values: readonly number[]): number => Math.min(...values);
const rounded = (value: number): number => Number(value.toFixed(3));

/** The model's own layer bodies as one TensorFlow call against the same operations one by one, in one process on one thread. */
export const bench: Bench = async ({ isQuick, say }) => {
  const { tf, binding } = await loadTensorFlow({ threads: 1 });
  const goal = `a layer's forward and backward at most ${TRAIN_LIMIT} of the time op by op, a decode step at most ${DECODE_LIMIT}`;
  const peerName = "the same operations one by one";
  if (binding !== "koffi") return { name: "compiled", ratio: 1, goal, met: false, ours: 0, peer: null, unit: "ms", runs: 0, peerName: `${peerName} (nothing is compiled without TensorFlow through koffi)`, extra: {} };
  const rounds = isQuick ? 3 : 9;
  const calls = isQuick ? 3 : 8;
  const withBfloat16 = (await bfloat16Support(tf)).usable;
  const works: [name: string, limit: number, work: Work][] = [
    ["layer, forward and backward, float32", TRAIN_LIMIT, trainingStep("float32")],
    ...(withBfloat16 ? [["layer, forward and backward, bfloat16", TRAIN_LIMIT, trainingStep("bfloat16")] as [string, number, Work]] : []),
    ["decode step", DECODE_LIMIT, decodeStep()],
  ];
  const results = [];
  for (const [name, limit, work] of works) {
    const timed = await takeTurns(tf, work, rounds, calls);
    const [compiled, eager] = [least(timed.compiled), least(timed.eager)];
    results.push({ name, limit, ratio: rounded(compiled / eager), compiled: rounded(compiled), eager: rounded(eager), medianRatio: rounded(median(timed.compiled) / median(timed.eager)) });
    say(`${name}: ${compiled.toFixed(2)} ms compiled, ${eager.toFixed(2)} ms op by op, ratio ${(compiled / eager).toFixed(2)} (at most ${limit})`);
  }
  const [first] = results as [(typeof results)[number]];
  return { name: "compiled", ratio: first.ratio, goal, met: results.every(({ ratio, limit }) => ratio <= limit), ours: first.compiled, peer: first.eager, unit: "ms", runs: rounds, peerName, extra: { results } };
};
