import { bfloat16Support, compile, loadTensorFlow, RawTensor, TensorFlowError, uploadBfloat16, type LoadedTensorFlow, type TensorLike, type TensorSpec } from "@dramascope/tensorflow";
import "@tensorflow/tfjs-backend-wasm";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { needsKoffi, nativeTensors } from "./support.ts";

let loaded: LoadedTensorFlow;
let native: string;
beforeAll(async () => {
  loaded = await loadTensorFlow();
  native = loaded.tf.getBackend();
});
afterEach(() => loaded.tf.setBackend(native));

/** Upper halves of float32 values that bfloat16 holds exactly. */
const bits = (...values: number[]): Uint16Array => Uint16Array.from(new Uint32Array(Float32Array.from(values).buffer), (word) => word >>> 16);

const widen: Record<string, TensorSpec> = { w: { shape: [2, 2], dtype: "bfloat16" } };

describe("bfloat16 tensors", () => {
  it.for(["auto", "eager"] as const)("keep their values through upload, product and cast, and free what they hold (%s)", async (mode, { skip }) => {
    needsKoffi(loaded, skip);
    const { tf } = loaded;
    const before = nativeTensors(tf);
    const w = uploadBfloat16(tf, bits(1, -2, 0.5, 3), [2, 2]);
    expect([w.shape, w.dtype, w.bytes, w.isDisposed]).toEqual([[2, 2], "bfloat16", 8, false]);
    expect(nativeTensors(tf)).toBe(before + 1);
    const product = compile<TensorLike>(tf, "product", { ...widen, x: { shape: [2, 2], dtype: "float32" } }, (ops, { x, w }) => {
      const narrow = ops.matmul(ops.cast(x!, "bfloat16"), w!);
      return { narrow, wide: ops.cast(narrow, "float32") };
    }, { mode });
    const x = tf.tensor2d([[1, 1], [2, 0]]);
    const { narrow, wide } = product({ x, w });
    expect(Array.from(await (wide as typeof x).data())).toEqual([1.5, 1, 2, -4]);
    expect(narrow).toBeInstanceOf(RawTensor);
    const again = compile(tf, "widen", widen, (ops, { w }) => ({ y: ops.cast(w!, "float32") }), { mode });
    const { y } = again({ w: narrow as RawTensor });
    expect(Array.from(await y!.data())).toEqual([1.5, 1, 2, -4]);
    for (const one of [w, x, narrow!, wide!, y!]) one.dispose();
    w.dispose();
    expect(w.isDisposed).toBe(true);
    for (const one of [product, again]) one.dispose();
    expect(nativeTensors(tf)).toBe(before);
  });

  it("are checked like other inputs", ({ skip }) => {
    needsKoffi(loaded, skip);
    const { tf } = loaded;
    const widened = compile(tf, "widen", widen, (ops, { w }) => ({ y: ops.cast(w!, "float32") }));
    const gone = uploadBfloat16(tf, bits(1, 2, 3, 4), [2, 2]);
    gone.dispose();
    expect(() => widened({ w: gone })).toThrow("widen: input w was disposed");
    expect(() => gone.id).toThrow("a bfloat16 tensor of shape [2,2] was disposed");
    const flat = uploadBfloat16(tf, bits(1, 2, 3, 4), [4]);
    expect(() => widened({ w: flat })).toThrow("widen: input w is bfloat16[4], expected bfloat16[2,2]");
    const wide = tf.ones([2, 2]);
    expect(() => widened({ w: wide })).toThrow("widen: input w is float32[2,2], expected bfloat16[2,2]");
    const plain = compile(tf, "plain", { w: { shape: [4], dtype: "float32" } }, (ops, { w }) => ({ y: ops.neg(w!) }));
    expect(() => plain({ w: flat })).toThrow("plain: input w is bfloat16[4], expected float32[4]");
    expect(() => uploadBfloat16(tf, bits(1, 2, 3), [2, 2])).toThrow("a tensor of shape [2,2] needs 8 bytes, 6 were given");
    for (const one of [flat, wide, widened, plain]) one.dispose();
  });

  it("are probed without leaving a tensor behind", async ({ skip }) => {
    needsKoffi(loaded, skip);
    const before = nativeTensors(loaded.tf);
    const { usable, fast, speedup } = await bfloat16Support(loaded.tf);
    expect(usable).toBe(true);
    expect(speedup).toBeGreaterThan(0);
    expect(fast).toBe(speedup >= 1.5);
    expect(nativeTensors(loaded.tf)).toBe(before);
  });

  it("do not exist on wasm, which says so", async () => {
    const { tf } = loaded;
    await tf.setBackend("wasm");
    expect(await bfloat16Support(tf)).toEqual({ usable: false, fast: false, speedup: 0 });
    expect(() => uploadBfloat16(tf, bits(1), [1])).toThrow(TensorFlowError);
    expect(() => uploadBfloat16(tf, bits(1), [1])).toThrow("the back end wasm has no bfloat16 tensors");
  });
});
