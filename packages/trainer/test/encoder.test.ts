import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { framesToVisionItem, loadQwenVl, type QwenVl, type RgbFrames, type Tf } from "@dramascope/qwen-vl";
import type { GrpoSample, SftSample, VideoReference } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { createSampleEncoder, trainGrpo, trainSft, type EncoderOptions, type SampleEncoder } from "@dramascope/trainer";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { DEMO_FOLDER } from "./model-configs.ts";
import { overlay } from "./reference-run.ts";

let tf: Tf;
let model: QwenVl;
beforeAll(async () => {
  ({ tf } = await loadTensorFlow({ threads: 1 }));
  model = await loadQwenVl(DEMO_FOLDER, { tf });
});
afterAll(() => model.dispose());

const [WIDTH, HEIGHT, FRAMES] = [56, 56, 2];
const TOKENS = 4;

/** A sample of two videos whose pixels are a function of its name. */
const sampleOf = (name: string): SftSample => ({
  kind: "sft", sampleId: name, messages: [{ role: "user", content: [{ type: "video", video: 0 }, { type: "video", video: 1 }, { type: "text", text: "So?" }] }], target: "x",
  videos: [1, 2].map((episode) => ({ dramaId: name, episode })),
});

const framesOf = ({ dramaId, episode }: VideoReference): Promise<RgbFrames> =>
  Promise.resolve({ width: WIDTH, height: HEIGHT, frameCount: FRAMES, frames: Uint8Array.from({ length: FRAMES * WIDTH * HEIGHT * 3 }, (_, i) => (i * dramaId.charCodeAt(0) * episode) % 251) });

/** An encoder, and the videos that its tower has looked at. */
function encoderOf(options: Partial<EncoderOptions> = {}): { encoder: SampleEncoder; looks: () => number } {
  let looks = 0;
  const watched = overlay(model, {
    encodeVideos: (items, ...rest) => {
      looks += items.length;
      return model.encodeVideos(items, ...rest);
    },
  });
  return { encoder: createSampleEncoder({ model: watched, loadFrames: framesOf, ...options }), looks: () => looks };
}

const featuresOf = async (encoder: SampleEncoder, name: string): Promise<number[][]> => {
  const { features } = await encoder.encode(sampleOf(name));
  return Promise.all(features!.map(async ({ tensor }) => Array.from(await tensor.data())));
};

it("features stay until they are trimmed, however many there are", async () => {
  const before = tf.memory().numTensors;
  const { encoder, looks } = encoderOf({ maxCachedTokens: 2 * TOKENS });
  const prompts = [await encoder.encode(sampleOf("a")), await encoder.encode(sampleOf("b")), await encoder.encode(sampleOf("c"))];
  for (const prompt of prompts) expect((await model.logProbs(prompt, [[5, 6]])).logProbs[0]).toHaveLength(2);
  expect(tf.memory().numTensors).toBe(before + 6);
  encoder.trim!();
  expect(tf.memory().numTensors).toBe(before + 2);
  await encoder.encode(sampleOf("c"));
  expect(looks()).toBe(6);
  await encoder.encode(sampleOf("a"));
  expect(looks()).toBe(8);
  encoder.dispose();
  expect(tf.memory().numTensors).toBe(before);
});

describe("features on disk", () => {
  const cacheOf = async (): Promise<{ folder: string; tf: Tf; identity: string; warnings: string[]; onWarning: (text: string) => void }> => {
    const warnings: string[] = [];
    return { folder: join(await mkdtemp(join(tmpdir(), "dramascope-features-")), "cache"), tf, identity: "weights", warnings, onWarning: (text) => warnings.push(text) };
  };

  it("are those of the tower bit for bit, and spare it in another process", async () => {
    const featureCache = await cacheOf();
    const [first, second] = [encoderOf({ featureCache }), encoderOf({ featureCache })];
    const expected = [await featuresOf(first.encoder, "a"), await featuresOf(first.encoder, "b")];
    expect(await readdir(featureCache.folder)).toHaveLength(2);
    await second.encoder.warm([sampleOf("a"), sampleOf("b"), sampleOf("c")]);
    expect(second.looks()).toBe(2);
    expect([await featuresOf(second.encoder, "a"), await featuresOf(second.encoder, "b")]).toEqual(expected);
    expect(featureCache.warnings).toEqual([]);
    first.encoder.dispose();
    second.encoder.dispose();
  });

  it("of other weights or frames are not taken", async () => {
    const featureCache = await cacheOf();
    const encoders = [encoderOf({ featureCache }), encoderOf({ featureCache: { ...featureCache, identity: "others" } })];
    await featuresOf(encoders[0]!.encoder, "a");
    await featuresOf(encoders[1]!.encoder, "a");
    await featuresOf(encoders[1]!.encoder, "b");
    expect(encoders.map(({ looks }) => looks())).toEqual([2, 4]);
    encoders.forEach(({ encoder }) => encoder.dispose());
  });

  it.each([
    ["cut short", (file: Buffer) => file.subarray(0, 50)],
    ["empty", () => Buffer.alloc(0)],
    ["changed in one bit", (file: Buffer) => Buffer.from(file.map((byte, i) => (i === 100 ? byte ^ 1 : byte)))],
  ])("that were %s are computed again with a warning, and kept anew", async (_what, damage) => {
    const featureCache = await cacheOf();
    const [first, second, third] = [encoderOf({ featureCache }), encoderOf({ featureCache }), encoderOf({ featureCache })];
    const expected = await featuresOf(first.encoder, "a");
    const path = join(featureCache.folder, (await readdir(featureCache.folder))[0]!);
    await writeFile(path, damage(await readFile(path)));
    expect(await featuresOf(second.encoder, "a")).toEqual(expected);
    expect(featureCache.warnings).toEqual([`${path} is damaged: its frames are looked at again`]);
    expect(await featuresOf(third.encoder, "a")).toEqual(expected);
    expect([first.looks(), second.looks(), third.looks()]).toEqual([2, 2, 0]);
    [first, second, third].forEach(({ encoder }) => encoder.dispose());
  });

  it("that cannot be written cost nothing but time, and are tried once", async () => {
    const featureCache = await cacheOf();
    await writeFile(featureCache.folder, "a file stands here");
    const { encoder, looks } = encoderOf({ featureCache });
    expect(await featuresOf(encoder, "a")).toHaveLength(2);
    await encoder.warm([sampleOf("b"), sampleOf("c")]);
    expect([looks(), featureCache.warnings]).toEqual([6, [expect.stringMatching(/cache cannot be written to .*: features are no longer kept$/u)]]);
    encoder.dispose();
  });

  it("that a killed process began are swept after a day", async () => {
    const featureCache = await cacheOf();
    await mkdir(featureCache.folder);
    const [name, long] = ["a".repeat(64), new Date(Date.now() - 25 * 3600 * 1000)];
    const names = [`${name}.features.tmp-1-aa`, `${name}.features.tmp-2-bb`, `${name}.features`, "notes.tmp-1"];
    for (const [i, one] of names.entries()) {
      await writeFile(join(featureCache.folder, one), "");
      if (i !== 1) await utimes(join(featureCache.folder, one), long, long);
    }
    const { encoder } = encoderOf({ featureCache });
    await featuresOf(encoder, "a");
    const left = await readdir(featureCache.folder);
    expect(names.map((one) => left.includes(one))).toEqual([false, true, true, true]);
    encoder.dispose();
  });

  it("have a key of the model code's version, the identity, and the frames", async () => {
    const featureCache = await cacheOf();
    const { encoder } = encoderOf({ featureCache });
    await featuresOf(encoder, "a");
    const { version } = JSON.parse(await readFile(new URL("../../qwen-vl/package.json", import.meta.url), "utf8")) as { version: string };
    const { patchSize: patch, spatialMergeSize: merge } = model.config.vision;
    const items = await Promise.all(sampleOf("a").videos.map(async (video) => framesToVisionItem(await framesOf(video), { patch, merge })));
    const hash = createHash("sha256").update(JSON.stringify([1, version, "weights", items.map(({ grid }) => ["video", grid, "Uint8Array"])]));
    for (const { patches } of items) hash.update(patches as Uint8Array);
    expect(await readdir(featureCache.folder)).toEqual([`${hash.digest("hex")}.features`]);
    encoder.dispose();
  });
});

describe("frames read ahead", () => {
  /** An encoder whose frames come when they are let go, and the samples whose frames were asked for. */
  function slowEncoder(height = HEIGHT): { encoder: SampleEncoder; asked: string[]; letGo: () => void } {
    const asked: string[] = [];
    let letGo = (): void => undefined;
    const gate = new Promise<void>((resolve) => (letGo = resolve));
    const frames = new Uint8Array(FRAMES * WIDTH * height * 3);
    const loadFrames: EncoderOptions["loadFrames"] = async ({ dramaId, episode }) => {
      if (episode === 1) asked.push(dramaId);
      if (dramaId === "broken") throw new Error("its frames are not there");
      await gate;
      return { width: WIDTH, height, frameCount: FRAMES, frames };
    };
    return { encoder: createSampleEncoder({ model, loadFrames }), asked, letGo };
  }
  const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10));

  it("are asked for one sample after the other, and used once", async () => {
    const { encoder, asked, letGo } = slowEncoder();
    encoder.prefetch!([sampleOf("a"), sampleOf("a"), sampleOf("b")]);
    await settled();
    expect(asked).toEqual(["a"]);
    letGo();
    await settled();
    expect(asked).toEqual(["a", "b"]);
    encoder.prefetch!([sampleOf("b"), sampleOf("c")]);
    await settled();
    expect(asked).toEqual(["a", "b", "c"]);
    expect((await encoder.encode(sampleOf("b"))).features).toHaveLength(2);
    expect(asked).toEqual(["a", "b", "c"]);
    // What was read ahead and not asked for again was forgotten; what has features is not read again.
    await encoder.encode(sampleOf("a"));
    encoder.prefetch!([sampleOf("a"), sampleOf("b")]);
    await settled();
    expect(asked).toEqual(["a", "b", "c", "a"]);
    encoder.dispose();
  });

  it("that were not begun are begun by the next call, or not at all", async () => {
    const { encoder, asked, letGo } = slowEncoder();
    encoder.prefetch!(["a", "b", "c"].map(sampleOf));
    await settled();
    encoder.prefetch!([sampleOf("b")]);
    letGo();
    await settled();
    expect(asked).toEqual(["a", "b"]);
    encoder.dispose();
  });

  it("end where many bytes are ahead", async () => {
    // Two videos a sample of 75 MiB of pixels each.
    const { encoder, asked, letGo } = slowEncoder(28 * 8320);
    letGo();
    encoder.prefetch!(["a", "b", "c"].map(sampleOf));
    await vi.waitFor(() => expect(asked).toEqual(["a", "b"]), 10_000);
    // Its frames come after those of b, and so does what would be read ahead after them.
    await encoder.measure!(sampleOf("d"));
    await settled();
    expect(asked).toEqual(["a", "b", "d"]);
    encoder.dispose();
  });

  it("are those of the next step, in SFT and in GRPO", async () => {
    const { encoder } = encoderOf();
    const [read, ahead]: [string[], string[]] = [[], []];
    const watched = overlay(encoder, {
      encode: (sample) => {
        read.push(sample.sampleId);
        return encoder.encode(sample);
      },
      prefetch: (samples) => void ahead.push(samples.map(({ sampleId }) => sampleId).join()),
    });
    const folder = await mkdtemp(join(tmpdir(), "dramascope-ahead-"));
    const deps = { model, encoder: watched };
    const common = { learningRate: 1e-3, previewSteps: 1000 };
    await trainSft({ ...common, runDir: join(folder, "sft"), epochs: 2, batchSize: 1 }, ["a", "b"].map(sampleOf), deps);
    expect(read.slice(-3)).toEqual(ahead.slice(0, 3));
    expect(ahead[3]).toBe("");
    ahead.length = 0;
    const samples = ["a", "b", "c"].map((name): GrpoSample => ({ ...sampleOf(name), kind: "grpo", quality: 3, caption: "x", comments: [] }));
    await trainGrpo({ ...common, runDir: join(folder, "grpo"), promptsPerStep: 1, numGenerations: 2, maxCompletionLength: 2, beta: 0 }, samples, deps);
    expect(read.slice(-2)).toEqual(ahead.slice(0, 2));
    expect(ahead[2]).toBe("");
    encoder.dispose();
  });

  it("that cannot be read fail the sample, not the process", async () => {
    const { encoder, letGo } = slowEncoder();
    letGo();
    encoder.prefetch!([sampleOf("broken")]);
    await new Promise((resolve) => setTimeout(resolve, 10));
    await expect(encoder.encode(sampleOf("broken"))).rejects.toThrow("its frames are not there");
    encoder.dispose();
  });
});
