/**
 * Where the time of one decoder layer goes in a GRPO step: `node --conditions=@dramascope/source tools/bench/grpo-parts.ts [medium|tiny] [REPEATS]`. Runs the layer's forward and
 * backward operation by operation in one thread and prints milliseconds of processor time by part as JSON, of every operation the least over the repeats (default 10). Compiled, the same operations
 * reuse buffers and take somewhat less.
 */
import { compile, loadTensorFlow, type Ops, type TensorLike } from "@dramascope/tensorflow";
import { decoderBlock, decoderBlockVjp, KEPT, type Kept } from "../../packages/qwen-vl/src/text/decoder.ts";

const name = process.argv[2] === "tiny" ? "tiny" : "medium";
const repeats = Number(process.argv[3] ?? 10);
const { promptRows, completionRows, hidden, heads, intermediate } = { tiny: { promptRows: 512, completionRows: 64, hidden: 256, heads: 4, intermediate: 704 }, medium: { promptRows: 2048, completionRows: 128, hidden: 512, heads: 8, intermediate: 1408 } }[name];
const layout = { prompts: 1, promptRows, completions: 16, completionRows };
const [kvHeads, headDim, rank] = [2, 64, 16];
const rows = promptRows + layout.completions * completionRows;
const sizes = {
  q_proj: [hidden, hidden], k_proj: [hidden, kvHeads * headDim], v_proj: [hidden, kvHeads * headDim], o_proj: [hidden, hidden],
  gate_proj: [hidden, intermediate], up_proj: [hidden, intermediate], down_proj: [intermediate, hidden],
} as const;
const linears = Object.entries(sizes);

const { tf } = await loadTensorFlow({ threads: 1 });
const drawn = (shape: number[], spread = 1): TensorLike => tf.randomNormal(shape, 0, spread, "float32", 3);
const given: Record<string, TensorLike> = {
  x: drawn([rows, hidden]), cos: drawn([rows, headDim / 2]), sin: drawn([rows, headDim / 2]), prefixBias: tf.zeros([1, promptRows]),
  "input_layernorm.weight": tf.ones([hidden]), "post_attention_layernorm.weight": tf.ones([hidden]),
};
for (const [linear, [input, out]] of linears) {
  given[`${linear}.weight`] = drawn([input, out], input ** -0.5);
  if (/^[qkv]_/u.test(linear)) given[`${linear}.bias`] = drawn([out], 0.1);
  given[`${linear}.lora_A`] = drawn([rank, input], input ** -0.5);
  given[`${linear}.lora_B`] = drawn([out, rank], 0.02);
}
const shape = { heads, kvHeads, headDim, eps: 1e-6, loraScales: Object.fromEntries(linears.map(([linear]) => [linear, 2])), queryChunk: 512 };
const parameters = new Set(linears.flatMap(([linear]) => [`${linear}.lora_A`, `${linear}.lora_B`]));

/** Part of the layer that an operation belongs to: products with the rank or with weights, attention by what it reads, everything else by its size. */
function partOf(scope: string, operation: string, shapes: readonly (readonly number[])[]): string {
  const isProduct = /matmul/iu.test(operation);
  if (scope.includes("attention") && !scope.includes("norm")) {
    const isScores = shapes.some((one) => one.length > 1 && one.at(-1)! > headDim + 1 && one.at(-2)! > headDim + 1);
    if (isProduct) return "attention: products";
    if (operation === "softmax") return "attention: softmax";
    return isScores ? "attention: passes over scores" : "attention: the rest";
  }
  if (isProduct) return shapes.some((one) => one.includes(rank)) ? "adapter" : "linears";
  if (shapes.some((one) => one.at(-1) === intermediate && one[0] === rows)) return "SwiGLU";
  return "norms, rotations, sums, copies";
}

interface Timed {
  part: string;
  ms: number;
}

let run: Timed[] = [];
/** The same operations with their times written down. */
function timed<V>(ops: Ops<V>, scope = ""): Ops<V> {
  const operations = Object.entries(ops as unknown as Record<string, (...values: unknown[]) => unknown>);
  return Object.fromEntries(operations.map(([operation, call]) => [operation, (...values: unknown[]) => {
    if (operation === "scope") return timed(call(...values) as Ops<V>, `${scope}/${String(values[0])}`);
    if (operation === "shape" || operation === "dtype") return call(...values);
    const start = process.cpuUsage();
    const result = call(...values);
    const { user, system } = process.cpuUsage(start);
    const ms = (user + system) / 1000;
    const shapes = [result, ...values].flat().flatMap((value) => shapesOf(ops, value));
    run.push({ part: partOf(scope, operation, shapes), ms });
    return result;
  }])) as unknown as Ops<V>;
}

/** Shape of a value of the operations; of anything else nothing. */
function shapesOf<V>(ops: Ops<V>, value: unknown): (readonly number[])[] {
  try {
    return [ops.shape(value as V)].filter((one) => (one as unknown) !== undefined);
  } catch {
    return [];
  }
}

const specs = (inputs: Readonly<Record<string, TensorLike>>) => Object.fromEntries(Object.entries(inputs).map(([input, tensor]) => [input, { shape: tensor.shape, dtype: "float32" as const }]));
const forward = compile<TensorLike>(tf, "forward", specs(given), (ops, v) => {
  const { y, kept } = decoderBlock(timed(ops), v, shape, layout);
  return { y, ...kept };
}, { mode: "eager" });
const { y, ...kept } = forward(given);
const backwardInputs = { ...given, ...kept, dy: drawn([rows, hidden]) };
y!.dispose();
const backward = compile<TensorLike>(tf, "backward", specs(backwardInputs), (ops, v) => decoderBlockVjp(timed(ops), v, shape, layout, { x: true, parameters }, { kept: Object.fromEntries(KEPT.map((one) => [one, v[one]])) as Kept<(typeof v)[string]> }), { mode: "eager" });

function measure(call: () => Record<string, TensorLike>): Record<string, number> {
  let least: Timed[] = [];
  for (let i = 0; i < repeats; i++) {
    run = [];
    for (const tensor of Object.values(call())) tensor.dispose();
    least = i === 0 ? run : least.map(({ part, ms }, at) => ({ part, ms: Math.min(ms, run[at]!.ms) }));
  }
  const parts = new Map<string, number>();
  for (const { part, ms } of least) parts.set(part, (parts.get(part) ?? 0) + ms);
  return Object.fromEntries([...parts].sort((a, b) => b[1] - a[1]).map(([part, ms]) => [part, Number(ms.toFixed(1))]));
}

process.stdout.write(`${JSON.stringify({ model: name, repeats, forward: measure(() => forward(given)), backward: measure(() => backward(backwardInputs)) }, null, 1)}\n`);
