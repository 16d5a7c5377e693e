import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { LoadOptions, QwenVl } from "@dramascope/qwen-vl";
import { golden } from "./goldens.ts";
import { loadReference, nativeTensors, type Reference } from "./support.ts";

const NATIVE = "needs a native TensorFlow through koffi";
let ref: Reference;
let folder: string;
beforeAll(async () => {
  ref = await loadReference();
});
afterAll(() => {
  ref.model.dispose();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-weight-cache-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const cache = (): string => join(folder, "cache");
const cached = async (): Promise<string[]> => (await readdir(cache()).catch(() => [])).sort();

/** A load with the cache, and how many tensors it read from the checkpoint. */
async function loadCached(options: Partial<LoadOptions> = {}, from = golden("model")): Promise<{ model: QwenVl; read: number }> {
  let read = 0;
  const model = await ref.load({ weightCache: cache(), onProgress: () => (read += 1), ...options }, from);
  return { model, read };
}

async function logitsOf(model: QwenVl): Promise<Float32Array> {
  const result = await model.forward(ref.second, { rows: "all" });
  const values = (await result.logits.data()) as Float32Array;
  result.dispose();
  return values;
}

describe("a weight cache", () => {
  it("gives the same bits, reads the checkpoint once for each type, and is given back", async ({ skip }) => {
    skip(ref.binding !== "koffi", NATIVE);
    for (const dtype of ["float32", "bfloat16"] as const) {
      const plain = await ref.load({ dtype });
      const [expected, { weightBytes, tensors }] = [await logitsOf(plain), plain.info];
      plain.dispose();
      const before = nativeTensors(ref.tf);
      for (const read of [tensors, 0]) {
        const { model, read: counted } = await loadCached({ dtype });
        expect(counted).toBe(read);
        expect(model.info.weightBytes).toBe(weightBytes);
        expect(await logitsOf(model)).toEqual(expected);
        model.dispose();
        expect(nativeTensors(ref.tf)).toBe(before);
      }
    }
    expect(await cached()).toHaveLength(2);
  });

  it("keeps its file as it is while adapters are trained, merged and taken back", async ({ skip }) => {
    skip(ref.binding !== "koffi", NATIVE);
    const { model } = await loadCached();
    const [file] = await cached();
    const bytes = await readFile(join(cache(), file!));
    const before = await logitsOf(model);
    await model.attachLora({ r: 4, alpha: 8 }, { seed: 3 });
    const set = model.trainable();
    set.assignAll((await set.readValues()).map((one) => one.map((value) => value + 0.01)));
    await model.mergeLora();
    expect(await logitsOf(model)).not.toEqual(before);
    await model.unmergeLora();
    model.setActiveAdapter("none");
    const norms = model.trainable(/norm/u);
    norms.assignAll((await norms.readValues()).map((one) => one.map((value) => value * 2)));
    expect(await logitsOf(model)).not.toEqual(before);
    model.dispose();
    expect((await readFile(join(cache(), file!))).equals(bytes)).toBe(true);
    const again = await loadCached();
    expect(again.read).toBe(0);
    expect(await logitsOf(again.model)).toEqual(before);
    again.model.dispose();
  });

  it("takes a changed checkpoint for another one", async ({ skip }) => {
    skip(ref.binding !== "koffi", NATIVE);
    const checkpoint = join(folder, "checkpoint");
    await cp(golden("model"), checkpoint, { recursive: true });
    (await loadCached({}, checkpoint)).model.dispose();
    const path = join(checkpoint, (await readdir(checkpoint)).find((name) => name.endsWith(".safetensors"))!);
    const { atime, mtime } = await stat(path);
    const bytes = await readFile(path);
    bytes.fill(0, bytes.length - 64);
    await writeFile(path, bytes);
    await utimes(path, atime, mtime);
    const { model, read } = await loadCached({}, checkpoint);
    expect(read).toBeGreaterThan(0);
    expect(await cached()).toHaveLength(2);
    model.dispose();
  });

  it("writes a file that was cut short again", async ({ skip }) => {
    skip(ref.binding !== "koffi", NATIVE);
    const first = await loadCached();
    const expected = await logitsOf(first.model);
    first.model.dispose();
    const [file] = await cached();
    await truncate(join(cache(), file!), 100);
    const { model, read } = await loadCached();
    expect(read).toBeGreaterThan(0);
    expect(await logitsOf(model)).toEqual(expected);
    model.dispose();
  });

  it("is whole or absent: an abort and a folder that cannot take it leave nothing", async ({ skip }) => {
    skip(ref.binding !== "koffi", NATIVE);
    const before = nativeTensors(ref.tf);
    const abort = new AbortController();
    let read = 0;
    await expect(loadCached({ signal: abort.signal, onProgress: () => (read += 1) === 5 && abort.abort() })).rejects.toThrow(/abort/iu);
    expect(await cached()).toEqual([]);
    await writeFile(join(folder, "file"), "");
    await expect(loadCached({ weightCache: join(folder, "file") })).rejects.toMatchObject({ code: "WEIGHT_CACHE" });
    expect(nativeTensors(ref.tf)).toBe(before);
  });

  it("takes only a folder of one's own, and clears what a killed load left", async ({ skip }) => {
    skip(ref.binding !== "koffi", NATIVE);
    await mkdir(cache());
    await chmod(cache(), 0o777);
    await expect(loadCached()).rejects.toThrow("can be written to by others");
    await expect(loadCached({ weightCache: "" })).rejects.toMatchObject({ code: "WEIGHT_CACHE" });
    await chmod(cache(), 0o700);
    const left = (mark: string): string => join(cache(), `${"0".repeat(32)}.weights.tmp-${mark}`);
    await writeFile(left("old"), "x");
    await utimes(left("old"), 1, 1);
    await writeFile(left("new"), "x");
    const { model } = await loadCached();
    model.dispose();
    expect((await cached()).filter((name) => name.includes("tmp"))).toEqual([expect.stringMatching(/-new$/u)]);
  });

  it("may be filled by several loads at once", async ({ skip }) => {
    skip(ref.binding !== "koffi", NATIVE);
    const expected = await logitsOf(ref.model);
    const loads = await Promise.all([loadCached(), loadCached(), loadCached()]);
    for (const { model } of loads) {
      expect(await logitsOf(model)).toEqual(expected);
      model.dispose();
    }
    expect(await cached()).toHaveLength(1);
  });

  it("is refused where files cannot be mapped", async ({ skip }) => {
    skip(ref.binding === "koffi", "this back end maps files");
    await expect(loadCached()).rejects.toMatchObject({ code: "MAP_UNAVAILABLE" });
    expect(await cached()).toEqual([]);
  });
});
