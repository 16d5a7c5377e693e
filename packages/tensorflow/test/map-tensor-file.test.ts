import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile, loadTensorFlow, mapTensorFile, RawTensor, type LoadedTensorFlow, type TensorFileEntry } from "@dramascope/tensorflow";
import type { Tensor } from "@tensorflow/tfjs";
import "@tensorflow/tfjs-backend-wasm";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { nativeTensors, needsKoffi } from "./support.ts";

let loaded: LoadedTensorFlow;
let native: string;
const folder = mkdtempSync(join(tmpdir(), "dramascope-map-"));
beforeAll(async () => {
  loaded = await loadTensorFlow();
  native = loaded.tf.getBackend();
});
afterEach(() => loaded.tf.setBackend(native));
afterAll(() => rmSync(folder, { recursive: true }));

const isMapped = (path: string): boolean => readFileSync("/proc/self/maps", "utf8").includes(path);
const anonymousMegabytes = (): number => Number(/RssAnon:\s+(\d+)/u.exec(readFileSync("/proc/self/status", "utf8"))![1]) / 1024;

/** A file of 320 bytes: sixteen float32, bfloat16 halves of three of them at byte 64, the rest zero. */
function smallFile(): string {
  const path = join(folder, "small.bin");
  const bytes = Buffer.alloc(320);
  for (let i = 0; i < 16; i++) bytes.writeFloatLE(i, 4 * i);
  [1, -2, 0.5].forEach((value, i) => bytes.writeUInt16LE(new Uint32Array(Float32Array.of(value).buffer)[0]! >>> 16, 64 + 2 * i));
  bytes.writeFloatLE(7, 316);
  writeFileSync(path, bytes);
  return path;
}

describe("a mapped tensor file", () => {
  it("gives the values of every entry, whatever its shape", async ({ skip }) => {
    needsKoffi(loaded, skip);
    const { tf } = loaded;
    const before = nativeTensors(tf);
    const path = smallFile();
    const tensors = mapTensorFile(tf, path, [
      { name: "grid", dtype: "float32", shape: [2, 8], offset: 0 },
      { name: "some", dtype: "float32", shape: [3], offset: 0 },
      { name: "half", dtype: "bfloat16", shape: [3, 1], offset: 64 },
      { name: "one", dtype: "float32", shape: [], offset: 0 },
      { name: "none", dtype: "float32", shape: [0, 4], offset: 320 },
      { name: "tail", dtype: "float32", shape: [16], offset: 256 },
      { name: "__proto__", dtype: "float32", shape: [1], offset: 128 },
    ]);
    const read = async (name: string): Promise<number[]> => Array.from(await (tensors.get(name) as Tensor).data());
    expect(tensors.get("grid")!.shape).toEqual([2, 8]);
    expect(await read("grid")).toEqual(Array.from({ length: 16 }, (_, i) => i));
    expect(await read("some")).toEqual([0, 1, 2]);
    expect(await read("one")).toEqual([0]);
    expect(await read("none")).toEqual([]);
    expect((await read("tail"))[15]).toBe(7);
    expect(await read("__proto__")).toEqual([0]);
    const half = tensors.get("half");
    expect(half).toBeInstanceOf(RawTensor);
    const widened = compile(tf, "widen", { x: { shape: [3, 1], dtype: "bfloat16" } }, (ops, { x }) => ({ y: ops.cast(x!, "float32") }));
    const { y } = widened({ x: half! });
    expect(Array.from(await y!.data())).toEqual([1, -2, 0.5]);
    for (const one of [...tensors.values(), y!, widened]) one.dispose();
    expect(nativeTensors(tf)).toBe(before);
    expect(isMapped(path)).toBe(false);
  });

  it("takes no memory of its own, leaves the file as it is and goes with its last user", async ({ skip }) => {
    needsKoffi(loaded, skip);
    const { tf } = loaded;
    const path = join(folder, "large.bin");
    const values = Float32Array.from({ length: 16 * 2 ** 20 }, (_, i) => i % 64);
    writeFileSync(path, Buffer.from(values.buffer));
    const hash = (): string => createHash("sha256").update(readFileSync(path)).digest("hex");
    const original = hash();
    const entries: TensorFileEntry[] = ["first", "second"].map((name, i) => ({ name, dtype: "float32", shape: [2048, 4096], offset: i * 32 * 2 ** 20 }));
    const before = anonymousMegabytes();
    const tensors = mapTensorFile(tf, path, entries);
    const [first, second] = entries.map(({ name }) => tensors.get(name) as Tensor) as [Tensor, Tensor];
    const sum = tf.tidy(() => tf.add(tf.sum(first), tf.sum(second)));
    expect((await sum.data())[0]).toBe(31.5 * 16 * 2 ** 20);
    expect(anonymousMegabytes() - before).toBeLessThan(16);

    // Overwriting in place goes to private pages.
    const update = compile(tf, "update", { x: { shape: [2048, 4096], dtype: "float32" }, at: { shape: [1], dtype: "int32" }, row: { shape: [1, 4096], dtype: "float32" } }, (ops, { x, at, row }) => ({
      y: ops.updateRows(x!, at!, row!),
    }));
    const at = tf.tensor1d([3], "int32");
    const row = tf.fill([1, 4096], -1);
    const { y } = update({ x: first, at, row });
    expect(Array.from(tf.tidy(() => y!.slice([2, 0], [2, 1])).dataSync())).toEqual([0, -1]);
    expect(hash()).toBe(original);

    const view = second.reshape([-1]);
    for (const one of [first, second, sum, y!, at, row, update]) one.dispose();
    expect(isMapped(path)).toBe(true);
    expect(tf.tidy(() => view.slice(63, 1).dataSync())[0]).toBe(63);
    view.dispose();
    expect(isMapped(path)).toBe(false);
  });

  it.for<[string, Partial<TensorFileEntry>, string]>([
    ["an offset between the steps of 64", { offset: 32 }, "starts at byte 32, which is no multiple of 64"],
    ["a negative offset", { offset: -64 }, "starts at byte -64"],
    ["an end behind the file's", { shape: [64], offset: 128 }, "needs bytes 128 to 384, the file has 320"],
    ["a negative size", { shape: [-1, 2] }, "has the impossible shape [-1,2]"],
    ["a size beyond any file", { shape: [2 ** 40] }, "the file has 320"],
    ["sizes that nobody can count", { shape: [2 ** 40, 2 ** 40, 0] }, "has the impossible shape [1099511627776,1099511627776,0]"],
    ["a name given twice", { name: "good" }, "is named twice"],
  ])("refuses %s and leaves nothing behind", ([, entry, message], { skip }) => {
    needsKoffi(loaded, skip);
    const before = nativeTensors(loaded.tf);
    const good: TensorFileEntry = { name: "good", dtype: "float32", shape: [4], offset: 0 };
    const path = smallFile();
    expect(() => mapTensorFile(loaded.tf, path, [good, { ...good, name: "bad", ...entry }])).toThrow(message);
    expect([nativeTensors(loaded.tf), isMapped(path)]).toEqual([before, false]);
  });

  it("refuses files that cannot be mapped, and back ends that cannot map", async ({ skip }) => {
    needsKoffi(loaded, skip);
    const empty = join(folder, "empty.bin");
    writeFileSync(empty, "");
    expect(() => mapTensorFile(loaded.tf, empty, [])).toThrow(`${empty} is empty`);
    expect(() => mapTensorFile(loaded.tf, join(folder, "missing.bin"), [])).toThrow("cannot be opened");
    expect(() => mapTensorFile(loaded.tf, folder, [])).toThrow("is no file");
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    expect(() => mapTensorFile(loaded.tf, pipe, [])).toThrow("is no file");
    await loaded.tf.setBackend("wasm");
    expect(() => mapTensorFile(loaded.tf, empty, [])).toThrow("the back end wasm cannot map files");
  });
});
