import { compile, loadTensorFlow, type Body, type LoadedTensorFlow, type TensorSpec } from "@dramascope/tensorflow";
import { beforeAll, describe, expect, it } from "vitest";
import { nativeTensors, needsKoffi } from "./support.ts";

let loaded: LoadedTensorFlow;
let tf: LoadedTensorFlow["tf"];
beforeAll(async () => {
  loaded = await loadTensorFlow();
  tf = loaded.tf;
});

const specs: Record<string, TensorSpec> = { a: { shape: [2, 3], dtype: "float32" }, b: { shape: [3, 2], dtype: "float32" } };
const body: Body = (ops, { a, b }) => ({ y: ops.scope("layer").matmul(a!, b!) });
const modes = ["auto", "eager"] as const;

/** Reads rows by index: an index outside the table fails inside TensorFlow, while the call runs. */
const gatherSpecs: Record<string, TensorSpec> = { table: { shape: [4, 2], dtype: "float32" }, at: { shape: [1], dtype: "int32" } };
const gather: Body = (ops, { table, at }) => ({ y: ops.scope("lookup").gather(table!, at!) });

describe.each(modes)("a compiled function (%s)", (mode) => {
  it("refuses wrong inputs by name and works on", async () => {
    const product = compile(tf, "product", specs, body, { mode });
    const good = { a: tf.ones([2, 3]), b: tf.ones([3, 2]) };
    const gone = tf.ones([2, 3]);
    gone.dispose();
    const wrong: [Record<string, typeof gone>, string][] = [
      [{ ...good, a: tf.ones([3, 3]) }, "product: input a is float32[3,3], expected float32[2,3]"],
      [{ ...good, a: tf.ones([6]) }, "product: input a is float32[6], expected float32[2,3]"],
      [{ ...good, a: tf.scalar(1) }, "product: input a is float32[], expected float32[2,3]"],
      [{ ...good, a: tf.ones([2, 3], "int32") }, "product: input a is int32[2,3], expected float32[2,3]"],
      [{ a: good.a }, "product: input b is missing"],
      [{ ...good, c: good.a }, "product: there is no input c"],
      [{ ...good, constructor: good.a }, "product: there is no input constructor"],
      [{ ...good, a: gone }, "product: input a was disposed"],
    ];
    for (const [inputs, message] of wrong) {
      expect(() => product(inputs)).toThrow(message);
      await expect(product.async(inputs)).rejects.toThrow(message);
    }
    expect(Array.from(await product(good)["y"]!.data())).toEqual([3, 3, 3, 3]);
    expect(Array.from(await (await product.async(good))["y"]!.data())).toEqual([3, 3, 3, 3]);
    product.dispose();
    product.dispose();
    expect(() => product(good)).toThrow("product was disposed");
    await expect(product.async(good)).rejects.toThrow("product was disposed");
  });

  it("names a body's mistake, the function and the node, and leaves no tensor behind", () => {
    const before = tf.memory().numTensors;
    const wrong = (): void => {
      const compiled = compile(tf, "wrong", specs, (ops, { a }) => ({ y: ops.scope("layer3").matmul(a!, a!) }), { mode });
      const inputs = { a: tf.ones([2, 3]), b: tf.ones([3, 2]) };
      try {
        compiled(inputs);
      } finally {
        tf.dispose(Object.values(inputs));
      }
    };
    expect(wrong).toThrow(loaded.binding === "koffi" ? /^wrong: .*layer3\/MatMul|^wrong: .*must be equal/u : /^wrong: .*(?:shape|size-incompatible)/isu);
    expect(tf.memory().numTensors).toBe(before);
  });

  it("gives results apart from inputs and from one another, owned by the caller", async () => {
    const same = compile(tf, "same", { x: { shape: [2], dtype: "float32" } }, (ops, { x }) => {
      const y = ops.neg(x!);
      return { x: x!, y, again: y };
    }, { mode });
    const x = tf.tensor1d([1, 2]);
    const before = tf.memory().numTensors;
    const out = tf.tidy(() => same({ x }));
    expect(tf.memory().numTensors).toBe(before + 3);
    x.dispose();
    out["y"]!.dispose();
    expect([Array.from(await out["x"]!.data()), Array.from(await out["again"]!.data())]).toEqual([[1, 2], [-1, -2]]);
    tf.dispose([out["x"]!, out["again"]!]);
    expect(tf.memory().numTensors).toBe(before - 1);
    same.dispose();
  });

  it("keeps tensors and native handles constant over a thousand good and a thousand failing calls", async ({ skip }) => {
    needsKoffi(loaded, skip);
    const lookup = compile(tf, "lookup", gatherSpecs, gather, { mode });
    const inputs = { table: tf.tensor2d([[1, 2], [3, 4], [5, 6], [7, 8]]), at: tf.tensor1d([2], "int32") };
    const outside = tf.tensor1d([9], "int32");
    lookup(inputs)["y"]!.dispose();
    expect(() => lookup({ ...inputs, at: outside })).toThrow(/^lookup: .*lookup\/GatherV2|^lookup: .*indices\[0\] = 9/u);
    const before = [tf.memory().numTensors, nativeTensors(tf)];
    let failures = 0;
    for (let i = 0; i < 1000; i++) {
      const { y } = lookup(inputs);
      if (i % 250 === 0) expect(Array.from(await y!.data())).toEqual([5, 6]);
      y!.dispose();
      try {
        lookup({ ...inputs, at: outside });
      } catch {
        failures++;
      }
    }
    expect(failures).toBe(1000);
    expect([tf.memory().numTensors, nativeTensors(tf)]).toEqual(before);
    await expect(lookup.async({ ...inputs, at: outside })).rejects.toMatchObject({ code: "COMPILE_RUN" });
    expect([tf.memory().numTensors, nativeTensors(tf)]).toEqual(before);
    tf.dispose([...Object.values(inputs), outside]);
    lookup.dispose();
  });
});

describe("building and freeing", () => {
  it("leaves nothing behind, whether the body was right or wrong", ({ skip }) => {
    needsKoffi(loaded, skip);
    const inputs = { a: tf.ones([2, 3]), b: tf.ones([3, 2]) };
    const build = (): void => {
      const product = compile(tf, "product", specs, body);
      product(inputs)["y"]!.dispose();
      product.dispose();
    };
    build();
    const before = [tf.memory().numTensors, nativeTensors(tf)];
    for (let i = 0; i < 100; i++) {
      build();
      const wrong = (): unknown => compile(tf, "wrong", specs, (ops, { a }) => ({ y: ops.matmul(a!, a!) }))(inputs);
      expect(wrong).toThrow("wrong: ");
    }
    expect([tf.memory().numTensors, nativeTensors(tf)]).toEqual(before);
    tf.dispose(Object.values(inputs));
  });
});

describe("a call beside the event loop", () => {
  const size = 512;
  /** A tenth of a second of products, one after the other. */
  const slow: Body = (ops, { x }) => {
    let y = ops.neg(x!);
    for (let i = 0; i < 60; i++) y = ops.mul(ops.matmul(y, x!), ops.scalar(1 / size));
    return { y };
  };
  const slowSpecs: Record<string, TensorSpec> = { x: { shape: [size, size], dtype: "float32" } };

  it("lets timers run, gives the same as a call that blocks, also when several run at once", async ({ skip }) => {
    needsKoffi(loaded, skip);
    const product = compile(tf, "slow", slowSpecs, slow);
    if (product.mode === "eager") return;
    const x = tf.randomUniform([size, size], 0, 2, "float32", 3);
    const expected = product({ x });
    const before = nativeTensors(tf);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    const results = await Promise.all(Array.from({ length: 3 }, () => product.async({ x })));
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(2);
    expect(nativeTensors(tf)).toBe(before + 3);
    for (const { y } of results) {
      expect(Buffer.from((await y!.data()).buffer).equals(Buffer.from((await expected["y"]!.data()).buffer))).toBe(true);
      y!.dispose();
    }
    tf.dispose([x, expected["y"]!]);
    product.dispose();
  });

  it("rejects with the signal's reason as soon as it is aborted, and frees what it was given when the rest has run", async ({ skip }) => {
    needsKoffi(loaded, skip);
    const large = compile(tf, "large", { x: { shape: [1], dtype: "float32" } }, (ops, { x }) => ({ y: ops.exp(ops.broadcastTo(x!, [4_000_000])) }));
    const x = tf.tensor1d([1]);
    large({ x })["y"]!.dispose();
    const before = [tf.memory().numTensors, nativeTensors(tf)];
    const memory = process.memoryUsage.rss();
    for (let i = 0; i < 40; i++) {
      const abort = new AbortController();
      const call = large.async({ x }, { signal: abort.signal });
      const settled = call.then(() => "done", (error: unknown) => error);
      abort.abort(new Error("stop"));
      // In eager mode the work was done before the signal came.
      if (large.mode === "function") expect(await Promise.race([settled, new Promise((resolve) => setImmediate(() => resolve("late")))])).toMatchObject({ message: "stop" });
      else (await call)["y"]!.dispose();
    }
    large.dispose();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect([tf.memory().numTensors, nativeTensors(tf)]).toEqual(before);
    expect((process.memoryUsage.rss() - memory) / 2 ** 20).toBeLessThan(320); // 40 results of 16 MB would be 640
    x.dispose();
  });

  it("does not start when the signal is aborted already", async () => {
    const product = compile(tf, "product", specs, body);
    const inputs = { a: tf.ones([2, 3]), b: tf.ones([3, 2]) };
    const before = tf.memory().numTensors;
    await expect(product.async(inputs, { signal: AbortSignal.abort(new Error("too late")) })).rejects.toThrow("too late");
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose(Object.values(inputs));
    product.dispose();
  });

  it("may outlive its function and its inputs", async ({ skip }) => {
    needsKoffi(loaded, skip);
    const product = compile(tf, "slow", slowSpecs, slow);
    const x = tf.fill([size, size], 1);
    const call = product.async({ x });
    product.dispose();
    x.dispose();
    const { y } = await call;
    expect((await y!.data())[0]).toBe(-1);
    y!.dispose();
  });
});
