import { createRandom } from "@dramascope/schema";
import { compile, loadTensorFlow, type LoadedTensorFlow } from "@dramascope/tensorflow";
import { gradientsByTensorFlow, type Forward } from "@dramascope/tensorflow/testing";
import { beforeAll, describe, expect, it } from "vitest";
import { nativeTensors, needsKoffi } from "./support.ts";

let loaded: LoadedTensorFlow;
beforeAll(async () => {
  loaded = await loadTensorFlow();
});

const one = { x: [2, 3] } as const;
const cases: [name: string, shapes: Readonly<Record<string, readonly number[]>>, forward: Forward][] = [
  ["matmul", { x: [2, 3], w: [4, 3] }, (o, { x, w }) => o.matmul(x!, w!, { transposeB: true })],
  ["batchMatmul", { x: [2, 2, 3], w: [2, 3, 2] }, (o, { x, w }) => o.batchMatmul(x!, w!)],
  ["softmax", one, (o, { x }) => o.softmax(x!)],
  ["logSoftmax", one, (o, { x }) => o.logSoftmax(x!)],
  ["rsqrt of a mean of squares", one, (o, { x }) => o.mul(x!, o.rsqrt(o.add(o.mean(o.square(x!), [1], true), o.scalar(0.1))))],
  ["sigmoid and tanh", one, (o, { x }) => o.mul(o.sigmoid(x!), o.tanh(x!))],
  ["erf", one, (o, { x }) => o.erf(x!)],
  ["div", { x: [2, 3], w: [3] }, (o, { x, w }) => o.div(x!, o.add(o.square(w!), o.scalar(1)))],
  ["gather", { x: [3, 2] }, (o, { x }) => o.gather(x!, o.constant([2, 0, 2], [3], "int32"))],
  ["split, concat and transpose", { x: [2, 4] }, (o, { x }) => o.square(o.transpose(o.concat([...o.split(x!, [1, 3], 1)].reverse(), 1), [1, 0]))],
  ["slice and pad", { x: [3, 3] }, (o, { x }) => o.square(o.pad(o.slice(x!, [1, 0], [2, 2]), [[0, 1], [1, 0]]))],
  ["select", one, (o, { x }) => o.select(o.less(x!, o.scalar(0)), o.neg(x!), o.square(x!))],
];

const STEP = 2 ** -7;

describe("TensorFlow's gradient of a recorded body equals central differences", () => {
  it.for(cases)("%s", ([, shapes, forward], { skip }) => {
    needsKoffi(loaded, skip);
    const { tf } = loaded;
    const before = [tf.memory().numTensors, nativeTensors(tf)];
    const random = createRandom(11);
    const draw = (shape: readonly number[]): Float32Array => Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal());
    const specs = Object.fromEntries(Object.entries(shapes).map(([key, shape]) => [key, { shape, dtype: "float32" as const }]));
    const values = new Map(Object.entries(shapes).map(([key, shape]) => [key, draw(shape)]));
    const tensors = () => Object.fromEntries(Array.from(values, ([key, data]) => [key, tf.tensor(data.slice(), [...shapes[key]!])]));
    const run = compile(tf, "forward", specs, (ops, inputs) => ({ y: forward(ops, inputs) }));
    tf.tidy(() => {
      const { y } = run(tensors());
      const weights = draw(y!.shape);
      const value = (): number => tf.tidy(() => Array.from(run(tensors())["y"]!.dataSync()).reduce((sum, each, i) => sum + each * weights[i]!, 0));
      const gradients = gradientsByTensorFlow(tf, forward, tensors(), Object.keys(shapes), tf.tensor(weights, y!.shape));
      Object.keys(shapes).forEach((key, k) => {
        const given = gradients[k]!.dataSync();
        const data = values.get(key)!;
        data.forEach((x, i) => {
          data[i] = x + STEP;
          const above = value();
          data[i] = x - STEP;
          const slope = (above - value()) / (2 * STEP);
          data[i] = x;
          expect(Math.abs(given[i]! - slope)).toBeLessThan(2e-3 * Math.max(1, Math.abs(slope)));
        });
      });
    });
    run.dispose();
    expect([tf.memory().numTensors, nativeTensors(tf)]).toEqual(before);
  });
});
