import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom } from "@dramascope/schema";
import { compile, loadTensorFlow, type Body } from "@dramascope/tensorflow";
import { loadQwenVl, parseAdapterConfig, readAdapter } from "@dramascope/qwen-vl";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linear, linearsVjp } from "../src/ops/linear.ts";
import { dropoutMask } from "../src/train/dropout.ts";
import { golden } from "./goldens.ts";
import { difference } from "./support.ts";

describe("dropoutMask", () => {
  const rows = (count: number) => [{ name: "prompt 0", rows: count }];

  it("keeps each entry with probability 1 - share, alone", () => {
    for (const share of [0.01, 0.05, 0.3, 0.5, 0.9]) {
      const width = 100;
      const mask = dropoutMask({ share, seed: 1, parts: rows(2000) }, "q_proj", width);
      const dropped = (places: (i: number) => boolean): number => mask.reduce((sum, _, i) => sum + (places(i) ? 1 : 0), 0) / mask.length;
      const one = (i: number): boolean => mask[i] === 0;
      const bound = (p: number): number => (5 * Math.sqrt((p * (1 - p)) / mask.length));
      expect(Math.abs(dropped(one) - share)).toBeLessThan(bound(share));
      for (const apart of [1, 2, width]) expect(Math.abs(dropped((i) => one(i) && mask[i + apart] === 0) - share ** 2)).toBeLessThan(2 * bound(share ** 2));
    }
  });

  it("is 1 - share on average over seeds at every entry", () => {
    const share = 0.25;
    const seeds = 4000;
    const sums = new Float64Array(24);
    for (let seed = 0; seed < seeds; seed++) dropoutMask({ share, seed, parts: rows(4) }, "q_proj", 6).forEach((kept, i) => (sums[i]! += kept / (1 - share)));
    for (const sum of sums) expect(Math.abs(sum / seeds - 1)).toBeLessThan(5 * Math.sqrt(share / (1 - share) / seeds));
  });

  it("follows from seed, module and part alone", () => {
    const part = fc.record({ name: fc.string(), rows: fc.integer({ min: 0, max: 5 }) });
    fc.assert(
      fc.property(fc.double({ min: 1e-300, max: 0.999, noNaN: true }), fc.maxSafeNat(), fc.uniqueArray(part, { selector: ({ name }) => name, maxLength: 4 }), fc.integer({ min: 1, max: 7 }), (share, seed, parts, width) => {
        const whole = dropoutMask({ share, seed, parts }, "q_proj", width);
        const apart = parts.flatMap((one) => [...dropoutMask({ share, seed, parts: [one] }, "q_proj", width)]);
        expect([...whole]).toEqual(apart);
        expect(whole.every((kept) => kept === 0 || kept === 1)).toBe(true);
      }),
    );
    const mask = (seed: number, module: string, name: string): string => dropoutMask({ share: 0.5, seed, parts: [{ name, rows: 8 }] }, module, 16).join("");
    expect(new Set([mask(1, "q_proj", "a"), mask(2, "q_proj", "a"), mask(1, "k_proj", "a"), mask(1, "q_proj", "b")]).size).toBe(4);
    // More rows after a row change nothing before.
    expect([...dropoutMask({ share: 0.5, seed: 1, parts: rows(8) }, "q_proj", 16)].slice(0, 48)).toEqual([...dropoutMask({ share: 0.5, seed: 1, parts: rows(3) }, "q_proj", 16)]);
  });
});

/** Row-major product in double precision, [m, k] x [k, n]. */
function product(a: ArrayLike<number>, b: ArrayLike<number>, m: number, k: number, n: number): Float64Array {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) for (let l = 0; l < k; l++) out[i * n + j]! += a[i * k + l]! * b[l * n + j]!;
  return out;
}

function transposed(a: ArrayLike<number>, rows: number, columns: number): Float64Array {
  return Float64Array.from({ length: rows * columns }, (_, i) => a[(i % rows) * columns + Math.floor(i / rows)]!);
}

it("is PEFT's y = x Wᵀ + b + s (drop(x) Aᵀ) Bᵀ with drop(x) = x · mask / (1 - p), and its adjoint", async () => {
  const [n, input, output, r, scale, share] = [5, 6, 4, 2, 1.5, 0.4];
  const random = createRandom(3);
  const draw = (size: number): Float32Array => Float32Array.from({ length: size }, () => random.normal());
  const host = { x: draw(n * input), weight: draw(input * output), bias: draw(output), a: draw(r * input), b: draw(output * r), dy: draw(n * output) };
  const mask = dropoutMask({ share, seed: 2, parts: [{ name: "all", rows: n }] }, "q_proj", input);

  const dropped = Float64Array.from(host.x, (x, i) => (x * mask[i]!) / (1 - share));
  const [at, bt] = [transposed(host.a, r, input), transposed(host.b, output, r)];
  const low = product(dropped, at, n, input, r);
  const update = product(low, bt, n, r, output);
  const dLow = product(host.dy, host.b, n, output, r).map((value) => scale * value);
  const direct = product(host.dy, transposed(host.weight, input, output), n, output, input);
  const expected: Record<string, Float64Array> = {
    y: product(host.x, host.weight, n, input, output).map((value, i) => value + host.bias[i % output]! + scale * update[i]!),
    x: product(dLow, host.a, n, r, input).map((value, i) => direct[i]! + (value * mask[i]!) / (1 - share)),
    a: product(transposed(dLow, n, r), dropped, r, n, input),
    b: product(transposed(host.dy, n, output), low.map((value) => scale * value), output, n, r),
  };

  const { tf } = await loadTensorFlow({ threads: 1 });
  const shapes: Record<string, [number, number]> = { x: [n, input], weight: [input, output], a: [r, input], b: [output, r], dy: [n, output] };
  const tensors = {
    ...Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, tf.tensor2d(host[name as keyof typeof host], shape)])),
    bias: tf.tensor1d(host.bias),
    kept: tf.tensor(mask, [n, input], "bool"),
  };
  const specs = Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, { shape, dtype: name === "kept" ? ("bool" as const) : ("float32" as const) }]));
  const body: Body = (ops, v) => {
    const values = { weight: v["weight"]!, bias: v["bias"]!, lora: { a: v["a"]!, b: v["b"]!, scale: scale / (1 - share), kept: v["kept"]! } };
    const { x, parts } = linearsVjp(ops, v["x"]!, [{ values, dy: v["dy"]!, wants: { weight: false, bias: false, lora: true } }], true);
    return { y: linear(ops, v["x"]!, values), x: x!, a: parts[0]!.a!, b: parts[0]!.b! };
  };
  const run = compile(tf, "dropped", specs, body);
  const out = run(tensors);
  for (const [name, values] of Object.entries(expected)) expect(difference(await out[name]!.data(), values), name).toBeLessThan(2e-5);
  run.dispose();
  for (const tensor of [...Object.values(out), ...Object.values(tensors)]) tensor.dispose();
});

describe("lora_dropout of an adapter folder", () => {
  const json = { peft_type: "LORA", r: 2, lora_alpha: 4 };

  it.each([[undefined, 0], [null, 0], [0, 0], [0.05, 0.05], [0.999, 0.999]])("%s is read as %s", (given, dropout) => {
    expect(parseAdapterConfig({ ...json, lora_dropout: given }).dropout).toBe(dropout);
  });

  it.each([-0.1, 1, Number.NaN, "0.1", true])("%s is refused", (given) => {
    expect(() => parseAdapterConfig({ ...json, lora_dropout: given })).toThrow(/lora_dropout is .*, expected a number from 0 to below 1/u);
  });

  it("survives attaching and saving, unless another one is asked for", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-dropout-"));
    const { tf } = await loadTensorFlow({ threads: 1 });
    const model = await loadQwenVl(golden("model"), { tf });
    try {
      const fresh = await model.attachLora({ r: 2, alpha: 4, dropout: 0.1 }, { name: "fresh" });
      expect(fresh.config.dropout).toBe(0.1);
      await model.saveLora(join(folder, "a"));
      expect((JSON.parse(await readFile(join(folder, "a", "adapter_config.json"), "utf8")) as { lora_dropout: number }).lora_dropout).toBe(0.1);
      expect((await readAdapter(join(folder, "a"))).config.dropout).toBe(0.1);
      expect((await model.attachLora(join(folder, "a"))).config.dropout).toBe(0.1);
      await model.attachLora(join(folder, "a"), { name: "b", dropout: 0 });
      await model.saveLora(join(folder, "b"));
      expect((await readAdapter(join(folder, "b"))).config.dropout).toBe(0);
      await expect(model.attachLora({ r: 2, alpha: 4, dropout: 1 }, { name: "c" })).rejects.toThrow("LoRA dropout must be at least 0 and below 1, got 1");
      await expect(model.attachLora(join(folder, "a"), { name: "c", dropout: -1 })).rejects.toThrow("got -1");
      await writeFile(join(folder, "a", "adapter_config.json"), JSON.stringify({ ...json, lora_dropout: 2 }));
      await expect(model.attachLora(join(folder, "a"), { name: "c" })).rejects.toThrow(/lora_dropout is 2/u);
    } finally {
      model.dispose();
      await rm(folder, { recursive: true });
    }
  });
});
