import type { Inputs, Ops } from "@dramascope/tensorflow";
import { gradientsByTensorFlow, type Forward } from "@dramascope/tensorflow/testing";
import type { Tensor } from "@dramascope/qwen-vl";
import { expect, it } from "vitest";
import { embed } from "../../src/ops/embed.ts";
import { relativeDifference, type Reference } from "../support.ts";
import { fromHost, type HostTensor, type RecordedBody } from "./record.ts";

/** How the gradients of one backward body are asked of TensorFlow. */
interface Question {
  forward: Forward;
  inputs: Record<string, HostTensor>;
  dy: HostTensor;
  /** Result of the backward by input of the forward. */
  results: Record<string, string>;
}

const floats = (shape: readonly number[], values: Float32Array): HostTensor => ({ shape, dtype: "float32", values });

/** Values with axes 0 and 1 exchanged. */
function transposed({ shape, values }: HostTensor): HostTensor {
  const [rows, columns] = shape as [number, number];
  return floats([columns, rows], Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!));
}

/** The layout among what is fixed in a body of a block. */
const layoutOf = ({ name, key }: RecordedBody): string | undefined => (name.startsWith("decoder") ? key.split(":")[1] : name.startsWith("vision") ? key.slice(key.indexOf(":"), key.indexOf(":{")) : undefined);

/** The forward that a backward belongs to: equal in its layout and in the inputs that are not the backward's own. */
function forwardOf(bodies: readonly RecordedBody[], backward: RecordedBody): RecordedBody {
  const signature = ({ inputs }: RecordedBody): string => Object.entries(inputs).filter(([name]) => !/^(?:dy|inverse|kept\d+|sum:.*)$/u.test(name)).map(([name, { shape }]) => `${name} ${shape.join()}`).sort().join(";");
  const found = bodies.find((body) => `${body.name}_vjp` === backward.name && layoutOf(body) === layoutOf(backward) && signature(body) === signature(backward));
  if (!found) throw new Error(`no forward was recorded for ${backward.key}`);
  return found;
}

/** The parameters and the input of a block: its backward adds to sums of the same names. */
function blockQuestion(bodies: readonly RecordedBody[], backward: RecordedBody): Question {
  const { body, inputs } = forwardOf(bodies, backward);
  const forward: Forward = (ops, values) => {
    const { y, ...parts } = body(ops, values);
    return y ?? joined(ops, Object.values(parts));
  };
  return {
    forward,
    inputs: Object.fromEntries(Object.keys(inputs).map((name) => [name, backward.inputs[name]!])),
    dy: backward.inputs["dy"]!,
    results: Object.fromEntries(Object.keys(backward.outputs).map((name) => [name, name])),
  };
}

function joined<V>(ops: Ops<V>, parts: readonly V[]): V {
  return parts.length === 1 ? parts[0]! : ops.concat(parts, 0);
}

const QUESTIONS: Record<string, (bodies: readonly RecordedBody[], backward: RecordedBody) => Question> = {
  decoder_block_vjp: blockQuestion,
  vision_block_vjp: blockQuestion,
  merger_vjp: blockQuestion,
  patch_embed_vjp: (bodies, { inputs: { x, dy } }) => {
    const { body, inputs } = bodies.find(({ name, inputs: given }) => name === "patch_embed" && given["x"]!.shape.join() === x!.shape.join() && given["weight"]!.shape[1] === dy!.shape[1])!;
    return { forward: (ops, v) => body(ops, v)["y"]!, inputs: { x: x!, weight: inputs["weight"]! }, dy: dy!, results: { weight: "y" } };
  },
  embed_vjp: (_, { inputs: { ids, dx, sum } }) => {
    // Rows that carry no embedding have the id after the last one.
    const [vocab, width] = sum!.shape as [number, number];
    const table = floats([vocab + 1, width], new Float32Array((vocab + 1) * width));
    return { forward: (ops, v) => embed(ops, [v["table"]!], v["ids"]!), inputs: { ids: ids!, table }, dy: dx!, results: { table: "sum" } };
  },
  features_vjp: (_, { inputs: { rows, dx } }) => {
    const [all, width] = dx!.shape as [number, number];
    const forward = <V>(ops: Ops<V>, v: Inputs<V>): V => ops.matmul(ops.oneHot(v["rows"]!, all), v["features"]!, { transposeA: true });
    return { forward, inputs: { rows: rows!, features: floats([rows!.shape[0]!, width], new Float32Array(rows!.shape[0]! * width)) }, dy: dx!, results: { features: "items" } };
  },
  log_probs_vjp: (bodies, { key, inputs, outputs }) => {
    const { x, rows, g, norm, "head.0": head } = inputs as Record<"x" | "rows" | "g" | "norm" | "head.0", HostTensor>;
    const targets = Object.fromEntries(Object.entries(inputs).filter(([name]) => /^(?:columns|inside)\.\d+$/u.test(name)));
    const { body } = bodies.find((one) => one.name === "log_probs" && one.key.split(":")[1] === key.split(":")[1] && one.inputs["head.0"]!.shape.join() === head.shape.join() && one.inputs["rows"]!.shape[0] === rows.shape[0] && Object.keys(targets).every((name) => name in one.inputs))!;
    const matrix = Object.keys(outputs).find((name) => /lm_head|embed_tokens/u.test(name));
    const normName = Object.keys(outputs).find((name) => name.endsWith("norm.weight"));
    return {
      forward: (ops, v) => body(ops, v)["logProbs"]!,
      inputs: { x, rows, ...targets, norm, "head.0": head },
      dy: g,
      results: { x: "dx", ...(normName === undefined ? {} : { norm: normName }), ...(matrix === undefined ? {} : { "head.0": matrix }) },
    };
  },
};

/** What a backward adds: its result without the sum it was given, one tensor for all items. */
function added({ inputs, outputs }: RecordedBody, result: string): HostTensor {
  const parts = result === "items" ? Object.values(outputs) : [outputs[result]!];
  const sum = inputs[`sum:${result}`] ?? inputs[result === "y" ? "sum" : result === "x" ? "" : result];
  const values = Float32Array.from(parts.flatMap((part) => [...part.values]));
  return floats(parts[0]!.shape, sum === undefined ? values : values.map((value, i) => value - sum.values[i]!));
}

/** Linears are kept as [in, out], their gradients have PyTorch's [out, in]; a tied head is kept as the embedding. */
function inPyTorchsOrder(gradient: HostTensor, input: string, shape: readonly number[]): HostTensor {
  const isMatrix = gradient.shape.length === 2 && (/\bweight$/u.test(input) || (input === "head.0" && gradient.shape[0] !== shape[0]));
  return isMatrix ? transposed(gradient) : gradient;
}

/** Hand-written backward passes against TensorFlow's own gradients. */
export function gradientTests({ tf }: Reference, bodies: readonly RecordedBody[]): void {
  const backwards = bodies.filter(({ name }) => name.endsWith("_vjp"));

  it.each(Object.keys(QUESTIONS))("%s gives TensorFlow's own gradients of its forward", (name) => {
    const some = backwards.filter((body) => body.name === name);
    expect(some.length).toBeGreaterThan(0);
    for (const backward of some) {
      const { forward, inputs, dy, results } = QUESTIONS[name]!(bodies, backward);
      const given = Object.fromEntries(Object.entries(inputs).map(([key, tensor]) => [key, fromHost(tf, tensor) as Tensor]));
      const gradient = fromHost(tf, dy) as Tensor;
      const expected = gradientsByTensorFlow(tf, forward, given, Object.keys(results), gradient);
      Object.entries(results).forEach(([input, result], i) => {
        const own = added(backward, result);
        const reference = inPyTorchsOrder(floats(expected[i]!.shape, expected[i]!.dataSync<"float32">()), input, own.shape);
        expect(relativeDifference(own.values, reference.values.subarray(0, own.values.length)), `${backward.key} for ${input}`).toBeLessThan(1e-5);
      });
      tf.dispose([given, gradient, expected]);
    }
  });

  it("no backward is left out", () => {
    expect([...new Set(backwards.map(({ name }) => name))].sort()).toEqual(Object.keys(QUESTIONS).sort());
  });
}
