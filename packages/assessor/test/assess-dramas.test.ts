import { fileURLToPath } from "node:url";
import { assessDramas, assessFrames, assessModes, readProfile, type AssessOptions, type DramaToAssess, type EpisodeFrames, type ScoreMode } from "@dramascope/assessor";
import { loadQwenVl, type GenerateOptions, type QwenVl } from "@dramascope/qwen-vl";
import { createRandom, type Assessment } from "@dramascope/schema";
import { loadTensorFlow, type LoadedTensorFlow } from "@dramascope/tensorflow";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const MODES: readonly ScoreMode[] = ["greedy", "logprob", "ensemble", "direct"];
const baseModel = fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url));

let tf: LoadedTensorFlow["tf"];
let model: QwenVl;
let options: Omit<AssessOptions, "mode">;
/** Calls of the model by method. */
let calls = new Map<string, number>();

/** A model that lets something look at, and change, what its methods are given. */
const watched = (watchedModel: QwenVl, look: (method: string, given: unknown[]) => unknown[]): QwenVl =>
  new Proxy(watchedModel, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (...given: unknown[]): unknown => Reflect.apply(value, target, look(String(name), given)) : value;
    },
  });

beforeAll(async () => {
  ({ tf } = await loadTensorFlow({ threads: 1 }));
  model = await loadQwenVl(baseModel, { tf });
  const counted = watched(model, (method, given) => {
    calls.set(method, (calls.get(method) ?? 0) + 1);
    return given;
  });
  const profile = (await readProfile(baseModel))!;
  options = { model: counted, template: profile.template, samples: 3, maxNewTokens: 140, identity: { model: { name: "demo-base", sha256: null }, adapter: null }, clock: () => 0 };
});
afterAll(() => model.dispose());

function dramaOf(seed: number): DramaToAssess {
  const random = createRandom(seed);
  const episodes = Array.from({ length: 1 + (seed % 2) }, (): EpisodeFrames => ({ frames: Uint8Array.from({ length: 4 * 84 * 56 * 3 }, () => random.below(256)), frameCount: 4, width: 56, height: 84, secondsPerGrid: 2 }));
  return { dramaId: String(seed), episodes, frames: { strideSeconds: 1, clock: "continuous" } };
}

/** What one call a drama and mode gives. */
async function oneByOne(drama: DramaToAssess, modes: readonly ScoreMode[]): Promise<[ScoreMode, Assessment][]> {
  const records: [ScoreMode, Assessment][] = [];
  for (const mode of modes) records.push([mode, await assessFrames(drama, { ...options, mode })]);
  return records;
}

describe("several modes of one drama", () => {
  it("see its frames encoded once, share the likeliest answer, and give the records of single calls", async () => {
    const drama = dramaOf(1);
    const single = await oneByOne(drama, MODES);
    calls = new Map();
    const before = tf.memory().numTensors;
    const together = await assessModes(drama, MODES, options);
    expect([...together]).toEqual(single);
    expect([calls.get("encodeVideos"), calls.get("generate")]).toEqual([1, 2]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it("time shared work once", async () => {
    let now = 0;
    const { greedy, logprob } = Object.fromEntries(await assessModes(dramaOf(1), ["greedy", "logprob"], { ...options, clock: () => now++ }));
    expect([greedy!.timings, logprob!.timings]).toEqual([{ encodeSeconds: 1, judgeSeconds: 1 }, { encodeSeconds: 1, judgeSeconds: 1 }]);
  });

  it("are at least one", async () => {
    await expect(assessModes(dramaOf(1), [], options)).rejects.toThrow(expect.objectContaining({ name: "AssessorError", code: "NO_MODE" }) as Error);
  });
});

it("a drama that leaves no room for an answer is an error that says so", async () => {
  const drama = dramaOf(1);
  const long = { ...drama.episodes[0]!, frames: new Uint8Array(800 * 84 * 56 * 3), frameCount: 800 };
  const before = tf.memory().numTensors;
  await expect(assessFrames({ ...drama, episodes: [long] }, options)).rejects.toThrow(expect.objectContaining({ name: "AssessorError", code: "NO_ROOM" }) as Error);
  expect(tf.memory().numTensors).toBe(before);
});

describe("many dramas", () => {
  it("give the records of single calls; each is encoded once and freed before the next is asked for", async () => {
    const seeds = [1, 2, 3];
    const modes: readonly ScoreMode[] = ["ensemble", "direct"];
    const single = [];
    for (const seed of seeds) single.push(await oneByOne(dramaOf(seed), modes));
    calls = new Map();
    const before = tf.memory().numTensors;
    const log: string[] = [];
    function* source(): Generator<DramaToAssess> {
      for (const seed of seeds) {
        log.push(`asked for ${seed}`);
        expect(tf.memory().numTensors).toBe(before);
        yield dramaOf(seed);
      }
    }
    const records: [ScoreMode, Assessment][][] = [];
    for await (const { drama, assessments } of assessDramas(source(), { ...options, modes })) {
      log.push(`got ${drama.dramaId}`);
      records.push([...assessments]);
    }
    expect(records).toEqual(single);
    expect(log).toEqual(["asked for 1", "got 1", "asked for 2", "got 2", "asked for 3", "got 3"]);
    expect(calls.get("encodeVideos")).toBe(3);
  });

  it("end with the signal, with nothing left behind and the source closed", async () => {
    const before = tf.memory().numTensors;
    const abort = new AbortController();
    let isClosed = false;
    async function* source(): AsyncGenerator<DramaToAssess> {
      try {
        for (let seed = 1; ; seed++) yield await Promise.resolve(dramaOf(seed));
      } finally {
        isClosed = true;
      }
    }
    const got: string[] = [];
    const run = async (): Promise<void> => {
      for await (const { drama } of assessDramas(source(), { ...options, modes: ["greedy"], signal: abort.signal })) {
        got.push(drama.dramaId);
        if (got.length === 2) abort.abort();
      }
    };
    await expect(run()).rejects.toThrow(expect.objectContaining({ name: "AbortError" }) as Error);
    expect([got, isClosed, tf.memory().numTensors]).toEqual([["1", "2"], true, before]);
  });

  it("a stop in the middle of an answer gives no record of it", async () => {
    const abort = new AbortController();
    const stopping = watched(model, (method, given) => (method === "generate" ? [given[0], { ...(given[1] as GenerateOptions), onToken: () => abort.abort() }] : given));
    await expect(assessFrames(dramaOf(1), { ...options, model: stopping, mode: "greedy", signal: abort.signal })).rejects.toThrow(expect.objectContaining({ name: "AbortError" }) as Error);
  });
});
