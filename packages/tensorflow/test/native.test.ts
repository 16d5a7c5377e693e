import { loadTensorFlow, uploadBfloat16, type LoadedTensorFlow } from "@dramascope/tensorflow";
import { beforeAll, describe, expect, it } from "vitest";
import { TF_DTYPES } from "../src/native/dtypes.ts";
import type { OpAttribute } from "../src/native/op-attributes.ts";
import { bindingFor, nativeTensors, needsKoffi, needsNative } from "./support.ts";

let loaded: LoadedTensorFlow;
let tf: LoadedTensorFlow["tf"];
beforeAll(async () => {
  loaded = await loadTensorFlow();
  tf = loaded.tf;
});

describe("TensorFlow.js on the chosen back end", () => {
  it("computes the gradient of a gather", async ({ skip }) => {
    needsNative(loaded, skip);
    const table = tf.tensor2d([[1, 2], [3, 4], [5, 6]]);
    const gradient = tf.grad((x) => tf.sum(tf.square(tf.gather(x, tf.tensor1d([2, 0, 2], "int32")))))(table);
    expect(Array.from(await gradient.data())).toEqual([2, 4, 0, 0, 20, 24]);
    tf.dispose([table, gradient]);
  });

  it("trains with a constant number of tensors and handles", ({ skip }) => {
    needsKoffi(loaded, skip);
    const w = tf.variable(tf.zeros([3, 1]));
    const x = tf.tensor2d([[1, 0, 2], [0, 1, 1], [1, 1, 0], [2, 1, 1]]);
    const target = tf.tensor2d([[5], [3], [2], [6]]);
    const optimizer = tf.train.adam(0.1);
    const loss = (): number => tf.tidy(() => optimizer.minimize(() => tf.losses.meanSquaredError(target, tf.matMul(x, w as never)), true)!.dataSync()[0]!);
    const first = loss();
    loss();
    const before = [tf.memory().numTensors, nativeTensors(tf)];
    for (let step = 0; step < 48; step++) loss();
    expect([tf.memory().numTensors, nativeTensors(tf)]).toEqual(before);
    expect(loss()).toBeLessThan(first / 10);
    optimizer.dispose();
    tf.dispose([w, x, target]);
  });

  it.each([
    ["bool", [1, 0, 1], "bool", [1, 0, 1]],
    ["int32", [-7, 2 ** 31 - 1], "int32", [-7, 2 ** 31 - 1]],
    ["float32", [0.5, -3], "float32", [0.5, -3]],
    ["no elements", [], "float32", []],
  ] as const)("reads what it was given: %s", async (_case, values, dtype, expected) => {
    const x = tf.tensor([...values], [values.length], dtype);
    const same = tf.tidy(() => tf.reverse(tf.reverse(x)));
    expect(Array.from(await same.data())).toEqual([...expected]);
    tf.dispose([x, same]);
  });

  it("reads complex numbers and strings", async ({ skip }) => {
    needsNative(loaded, skip);
    const z = tf.complex([1, 2], [3, -4]);
    expect(Array.from(await tf.imag(z).data())).toEqual([3, -4]);
    const words = tf.tensor1d(["剧", "", "drama"], "string");
    expect(await words.data<"string">()).toEqual(["剧", "", "drama"]);
    tf.dispose([z, words]);
  });

  it("refuses shapes that do not fit, tensors that are gone, and works on", async () => {
    const x = tf.ones([2, 3]);
    expect(() => tf.matMul(x, x)).toThrow();
    const gone = tf.ones([2]);
    gone.dispose();
    expect(() => tf.neg(gone)).toThrow();
    expect(() => gone.dataSync()).toThrow("disposed");
    expect(() => tf.tensor([1, 2, 3], [2, 2])).toThrow();
    expect((await tf.sum(x).data())[0]).toBe(6);
    x.dispose();
  });

  it("copies what it is given", async () => {
    const source = new Float32Array(2 ** 20).fill(1);
    const x = tf.tensor1d(source);
    const sum = tf.sum(x);
    source.fill(5);
    expect((await sum.data())[0]).toBe(2 ** 20);
    tf.dispose([x, sum]);
  });
});

describe("the binding through koffi", () => {
  const run = (name: string, inputs: number[], attributes: OpAttribute[] = []): number => bindingFor(tf).executeOp(name, attributes, inputs, 1)[0]!.id;

  it.for([
    ["uint8", TF_DTYPES.uint8, Uint8Array.of(1, 255)],
    ["int64 as bigints", TF_DTYPES.int64, BigInt64Array.of(-5n, 2n ** 40n)],
    ["bfloat16", TF_DTYPES.bfloat16, Uint16Array.of(0x3f80, 0xc000)],
    ["float16", TF_DTYPES.float16, Uint16Array.of(0x3c00, 0xc000)],
    ["float64", TF_DTYPES.float64, Float64Array.of(0.1, -2)],
  ] as const)("holds %s", ([, dtype, values], { skip }) => {
    needsKoffi(loaded, skip);
    const binding = bindingFor(tf);
    const id = binding.createTensor([2], dtype, values as never);
    expect(binding.tensorDataSync(run("Identity", [id]))).toEqual(values);
  });

  it("takes int64 as pairs of words, joins strings, sets lists of every kind", ({ skip }) => {
    needsKoffi(loaded, skip);
    const binding = bindingFor(tf);
    const before = nativeTensors(tf);
    const made: number[] = [];
    const keep = (id: number): number => {
      made.push(id);
      return id;
    };
    const pairs = keep(binding.createTensor([2], TF_DTYPES.int64, Int32Array.of(-5, -1, 7, 0)));
    expect(binding.tensorDataSync(pairs)).toEqual(BigInt64Array.of(-5n, 7n));

    const text = (...words: string[]): number => keep(binding.createTensor([words.length], TF_DTYPES.string, words.map((word) => new TextEncoder().encode(word))));
    const joined = keep(run("StringJoin", [text("剧", "b"), text("1", "2")], [{ name: "separator", type: binding.TF_ATTR_STRING, value: "-" }, { name: "N", type: binding.TF_ATTR_INT, value: 2 }]));
    expect((binding.tensorDataSync(joined) as Uint8Array[]).map((bytes) => new TextDecoder().decode(bytes))).toEqual(["剧-1", "b-2"]);

    const grid = keep(binding.createTensor([1, 2, 2, 1], TF_DTYPES.float32, Float32Array.of(1, 2, 3, 4)));
    const lists = [{ name: "ksize", type: binding.TF_ATTR_INT, value: [1, 2, 2, 1] }, { name: "strides", type: binding.TF_ATTR_INT, value: [1, 2, 2, 1] }, { name: "padding", type: binding.TF_ATTR_STRING, value: "VALID" }];
    expect(binding.tensorDataSync(keep(run("MaxPool", [grid], lists)))).toEqual(Float32Array.of(4));

    const square = keep(binding.createTensor([2, 2], TF_DTYPES.float32, Float32Array.of(1, -2, 3, 4)));
    const bias = keep(binding.createTensor([2], TF_DTYPES.float32, Float32Array.of(0.5, -30)));
    const fused = [
      { name: "fused_ops", type: binding.TF_ATTR_STRING, value: ["BiasAdd", "Relu"] },
      { name: "num_args", type: binding.TF_ATTR_INT, value: 1 },
      { name: "T", type: binding.TF_ATTR_TYPE, value: TF_DTYPES.float32 },
    ];
    expect(binding.tensorDataSync(keep(run("_FusedMatMul", [square, square, bias], fused)))).toEqual(Float32Array.of(0, 0, 15.5, 0));

    const bounds = [{ name: "boundaries", type: binding.TF_ATTR_FLOAT, value: [0, 3.5] }];
    expect(binding.tensorDataSync(keep(run("Bucketize", [square], bounds)))).toEqual(Int32Array.of(1, 0, 1, 2));
    const types = [{ name: "T", type: binding.TF_ATTR_TYPE, value: [TF_DTYPES.float32, TF_DTYPES.float32] }];
    const [first, second] = binding.executeOp("IdentityN", types, [square, bias], 2).map(({ id }) => keep(id));
    expect([binding.tensorDataSync(first!).length, binding.tensorDataSync(second!).length]).toEqual([4, 2]);

    made.forEach((id) => binding.deleteTensor(id));
    expect(nativeTensors(tf)).toBe(before);
  });

  it.for([
    ["negative sizes", [-2, -2]],
    ["parts of elements", [2.5, 2]],
    ["no number", [NaN, 4]],
    ["more elements than can be counted", [2 ** 40, 2 ** 40, 0]],
    ["too many axes", Array.from({ length: 254 }, () => 1)],
  ] as const)("refuses a shape that would end the process: %s", ([, shape], { skip }) => {
    needsKoffi(loaded, skip);
    const binding = bindingFor(tf);
    const before = nativeTensors(tf);
    const refusal = expect.objectContaining({ code: "TENSOR_SHAPE" }) as Error;
    for (const [dtype, values] of [[TF_DTYPES.float32, new Float32Array(4)], [TF_DTYPES.string, [new Uint8Array(1)]]] as const) expect(() => binding.createTensor(shape, dtype, values)).toThrow(refusal);
    expect(() => uploadBfloat16(tf, new Uint16Array(4), shape)).toThrow(refusal);
    expect(nativeTensors(tf)).toBe(before);
  });

  it("refuses fewer strings than the shape holds", ({ skip }) => {
    needsKoffi(loaded, skip);
    expect(() => bindingFor(tf).createTensor([3], TF_DTYPES.string, [new Uint8Array(1)])).toThrow("holds 3 strings, 1 were given");
  });

  it("gives TensorFlow's own words in errors, and works on", ({ skip }) => {
    needsKoffi(loaded, skip);
    const binding = bindingFor(tf);
    const make = (shape: number[]): number => binding.createTensor(shape, TF_DTYPES.float32, new Float32Array(shape.reduce((a, b) => a * b, 1)));
    const x = make([2, 3]);
    expect(() => run("MatMul", [x, x])).toThrow("Matrix size-incompatible: In[0]: [2,3], In[1]: [2,3]");
    expect(() => run("NoSuchOperation", [x])).toThrow("NoSuchOperation");
    const words = binding.createTensor([1], TF_DTYPES.string, [new Uint8Array(1)]);
    expect(() => run("Exp", [words])).toThrow("Exp");
    expect(() => binding.createTensor([2, 3], TF_DTYPES.float32, new Float32Array(5))).toThrow("needs 24 bytes, 20 were given");
    binding.deleteTensor(x);
    expect(() => binding.tensorDataSync(x)).toThrow(`tensor ${x} was disposed`);
    expect(() => binding.deleteTensor(x)).toThrow(`tensor ${x} was disposed`);
    binding.deleteTensor(words);
    expect(binding.tensorDataSync(run("Neg", [make([1])]))).toEqual(Float32Array.of(-0));
  });
});
