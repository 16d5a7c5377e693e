import { copyFile, cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTokenizer, loadQwenVl, openSafetensors, planMemory, QwenVlError } from "@dramascope/qwen-vl";
import { createRandom, type Random } from "@dramascope/schema";
import { loadTensorFlow, type LoadedTensorFlow } from "@dramascope/tensorflow";
import { golden } from "./goldens.ts";

const DEMO = fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url));
const IDS = Int32Array.from({ length: 12 }, (_, i) => 7 * i);

let tf: LoadedTensorFlow["tf"];
let folder: string;
beforeAll(async () => {
  ({ tf } = await loadTensorFlow({ threads: 1 }));
  folder = await mkdtemp(join(tmpdir(), "dramascope-damaged-"));
  await restore();
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function restore(): Promise<void> {
  for (const name of ["config.json", "model.safetensors", "tokenizer.json"]) await copyFile(join(DEMO, name), join(folder, name));
}

const below = (random: Random, n: number): number => Math.floor(random.uniform() * n);
const oneOf = <T>(random: Random, list: readonly T[]): T => list[below(random, list.length)]!;

/** Values that a damaged or hostile JSON file puts where another one belongs. */
const ODD: readonly unknown[] = [null, true, "", "x", "9007199254740993", -1, 0, 0.5, 1e308, 2 ** 31, 2 ** 40, 2 ** 53, [], [0, 1], [1e12], [[1]], {}, { length: 1e9 }, "a".repeat(5000), "(a+)+$", "__proto__"];

/** Replaces, removes, doubles or swaps one value somewhere in a JSON value. */
function damageJson(random: Random, json: unknown): unknown {
  const copy = structuredClone(json);
  let at = copy as Record<string, unknown>;
  for (;;) {
    const keys = Object.keys(at);
    if (keys.length === 0) return oneOf(random, ODD);
    const key = oneOf(random, keys);
    const inner = at[key];
    if (typeof inner === "object" && inner !== null && Object.keys(inner).length > 0 && random.uniform() < 0.8) {
      at = inner as Record<string, unknown>;
      continue;
    }
    const other = oneOf(random, keys);
    if (Array.isArray(at)) at.splice(Number(key), random.uniform() < 0.3 ? 1 : 0, oneOf(random, ODD));
    else if (random.uniform() < 0.2) Reflect.deleteProperty(at, key);
    else if (random.uniform() < 0.2) [at[key], at[other]] = [at[other], at[key]];
    else at[key] = oneOf(random, ODD);
    return copy;
  }
}

/** Flips, cuts out, doubles or cuts off bytes within a range. */
function damageBytes(random: Random, bytes: Buffer, from: number, to: number): Buffer {
  const at = from + below(random, to - from);
  const length = 1 + below(random, Math.min(64, to - at));
  switch (below(random, 4)) {
    case 0: {
      const flipped = Buffer.from(bytes);
      for (let n = 0; n < 1 + below(random, 8); n++) flipped[from + below(random, to - from)]! ^= 1 << below(random, 8);
      return flipped;
    }
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    case 2:
      return Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
    default:
      return bytes.subarray(0, at);
  }
}

function withHeader(header: string, data: Buffer): Buffer {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

function damageSafetensors(random: Random, bytes: Buffer): Buffer {
  const headerEnd = 8 + Number(bytes.readBigUInt64LE(0));
  switch (below(random, 5)) {
    case 0:
      return damageBytes(random, bytes, 0, 8);
    case 1:
      return damageBytes(random, bytes, 8, headerEnd);
    case 2:
      return damageBytes(random, bytes, headerEnd, bytes.length);
    case 3:
      return withHeader(JSON.stringify(damageJson(random, JSON.parse(bytes.toString("utf8", 8, headerEnd)))), bytes.subarray(headerEnd));
    default: {
      const header = JSON.parse(bytes.toString("utf8", 8, headerEnd)) as Record<string, { data_offsets: number[]; shape: number[] }>;
      const names = Object.keys(header).filter((name) => name !== "__metadata__");
      const [a, b] = [oneOf(random, names), oneOf(random, names)];
      if (random.uniform() < 0.5) [header[a]!.data_offsets, header[b]!.data_offsets] = [header[b]!.data_offsets, header[a]!.data_offsets];
      else header[a]!.data_offsets = [header[a]!.data_offsets[0]!, oneOf(random, [2 ** 32, 2 ** 50, 0, bytes.length])];
      return withHeader(JSON.stringify(header), bytes.subarray(headerEnd));
    }
  }
}

type Outcome = "refused" | "works";

/** Refused with an error of this package; any other error fails the test. */
async function outcomeOf(action: () => Promise<void>): Promise<Outcome> {
  try {
    await action();
    return "works";
  } catch (error) {
    if (QwenVlError.isInstance(error)) return "refused";
    throw error;
  }
}

async function loadAndScore(): Promise<void> {
  const model = await loadQwenVl(folder, { tf });
  try {
    const prompt = { ids: IDS, positionIds: Int32Array.from({ length: 36 }, (_, i) => i % 12), nextPosition: 12, segments: [], vision: [], text: "" };
    const { logProbs } = await model.logProbs(prompt, [[1, 2, 3]]);
    expect(logProbs[0]!.every(Number.isFinite)).toBe(true);
  } finally {
    model.dispose();
  }
}

/** Damages a file so many times and tells what came of it; each case can be repeated by its number. */
async function damaged(count: number, seed: number, action: (random: Random) => Promise<void>): Promise<Record<Outcome, number>> {
  const found: Record<Outcome, number> = { refused: 0, works: 0 };
  const tensors = tf.memory().numTensors;
  const before = process.memoryUsage().rss;
  for (let stream = 0; stream < count; stream++) {
    const outcome = await outcomeOf(() => action(createRandom(seed, { stream }))).catch((cause: unknown) => {
      throw new Error(`case ${stream} of seed ${seed}: ${String(cause)}`, { cause });
    });
    found[outcome]++;
  }
  expect(tf.memory().numTensors).toBe(tensors);
  expect(process.memoryUsage().rss - before).toBeLessThan(500e6);
  return found;
}

describe("damaged files are refused with an error that says so, or work", () => {
  it("weights, 120 of a whole model", async () => {
    const bytes = await readFile(join(DEMO, "model.safetensors"));
    const found = await damaged(120, 1, async (random) => {
      await writeFile(join(folder, "model.safetensors"), damageSafetensors(random, bytes));
      await loadAndScore();
    });
    await restore();
    expect(found.refused).toBeGreaterThan(60);
    expect(found.works).toBeGreaterThan(5);
  });

  it("tensors of every type, 130", async () => {
    const bytes = await readFile(golden("dtypes.safetensors"));
    const path = join(folder, "x.safetensors");
    const found = await damaged(130, 2, async (random) => {
      await writeFile(path, damageSafetensors(random, bytes));
      const file = await openSafetensors(path);
      try {
        for (const name of file.names) await file.read(name);
      } finally {
        await file.close();
      }
    });
    expect(found.refused).toBeGreaterThan(60);
  });

  it("indexes of shards, 60", async () => {
    const sharded = join(folder, "sharded");
    await cp(golden("model"), sharded, { recursive: true });
    const index = join(sharded, "model.safetensors.index.json");
    const text = await readFile(index);
    const json = JSON.parse(text.toString("utf8")) as unknown;
    const found = await damaged(60, 5, async (random) => {
      await writeFile(index, random.uniform() < 0.5 ? damageBytes(random, text, 0, text.length) : JSON.stringify(damageJson(random, json)));
      await planMemory(sharded);
    });
    expect(found.refused).toBeGreaterThan(30);
  });

  it("configurations, 150", async () => {
    const text = await readFile(join(DEMO, "config.json"));
    const json = JSON.parse(text.toString("utf8")) as unknown;
    const found = await damaged(150, 3, async (random) => {
      const changed = random.uniform() < 0.3 ? damageBytes(random, text, 0, text.length) : Buffer.from(JSON.stringify(damageJson(random, json)));
      await writeFile(join(folder, "config.json"), changed);
      await loadAndScore();
    });
    await restore();
    expect(found.refused).toBeGreaterThan(60);
    expect(found.works).toBeGreaterThan(5);
  });

  it("tokenizers, 100", async () => {
    const text = await readFile(join(DEMO, "tokenizer.json"));
    const json = JSON.parse(text.toString("utf8")) as unknown;
    const found = await damaged(100, 4, async (random) => {
      const changed = random.uniform() < 0.3 ? damageBytes(random, text, 0, text.length).toString("utf8") : JSON.stringify(damageJson(random, json));
      let parsed: unknown;
      try {
        parsed = JSON.parse(changed);
      } catch {
        await writeFile(join(folder, "tokenizer.json"), changed);
        await loadAndScore();
        return;
      }
      const tokenizer = createTokenizer(parsed);
      tokenizer.decode(tokenizer.encode("How good is <|im_end|> it? \u{1F3AC}é 12"));
    });
    await restore();
    expect(found.refused).toBeGreaterThan(10);
    expect(found.works).toBeGreaterThan(5);
  });
});
