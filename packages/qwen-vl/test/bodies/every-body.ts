import { fileURLToPath } from "node:url";
import type { LoadOptions, TrainableSet, VisionItem } from "@dramascope/qwen-vl";
import { lossOf } from "../model/loss-of.ts";
import type { Reference } from "../support.ts";
import { recordBodies, type RecordedBody } from "./record.ts";

/** Small trained checkpoint whose output matrix is its embedding. */
const TIED = fileURLToPath(new URL("../../../../test-fixtures/models/demo-base", import.meta.url));

/** An image of two rows and three columns of windows, those at the edges smaller. */
function windowed({ items }: Reference): VisionItem {
  const grid = [1, 12, 20] as const;
  return { kind: "image", grid, patches: items[0]!.patches.subarray(0, grid[1] * grid[2] * 1176) };
}

/** What a model is made to do. */
interface Work extends Partial<LoadOptions> {
  folder?: string;
  /** Parameters that are trained beside an adapter's. */
  weights: RegExp;
}

/** Makes every matrix of an adapter count. */
async function stir(set: TrainableSet): Promise<void> {
  set.assignAll((await set.readValues()).map((values, k) => values.map((value, i) => value + 0.05 * Math.cos(3 * i + k))));
}

async function work(ref: Reference, { folder, weights, ...options }: Work): Promise<void> {
  const model = await ref.load(options, folder);
  try {
    const completions = [[5, 6, 7], [9, 8]];
    const prompt = model.prepare([{ role: "user", content: [{ type: "image", item: windowed(ref) }, { type: "text", text: "How good is it?" }] }]);
    (await model.forward(prompt, { rows: "all" })).dispose();
    await model.logProbs(prompt, completions, { temperature: 0.7, entropy: true });
    await model.generate([prompt, prompt], { maxNewTokens: 3, n: 2, temperature: 0.9, stopIds: [] });
    await model.generate([prompt], { maxNewTokens: 3, temperature: 0, repetitionPenalty: 1.2, stopIds: [] });
    const trained = model.trainable(weights);
    trained.assignAll(await trained.readValues());
    await model.logProbsWithGradient(prompt, completions, { temperature: 0.8, gradient: lossOf([-1, 0.5]) });
    await model.attachLora({ r: 2, alpha: 4, targetModules: ["q_proj", "v_proj", "o_proj", "down_proj", "qkv", "mlp.2"] }, { seed: 3 });
    await stir(model.trainable());
    await model.logProbsWithGradient(prompt, completions, { gradient: lossOf([-1, 0.5]) });
    await model.generate([prompt], { maxNewTokens: 3, temperature: 0, stopIds: [] });
    await model.mergeLora();
    await model.unmergeLora();
    await model.attachLora({ r: 2, alpha: 4, dropout: 0.3, targetModules: ["k_proj", "up_proj", "qkv", "mlp.0"] }, { name: "dropping" });
    await stir(model.trainable());
    await model.logProbsWithGradient(prompt, completions, { gradient: lossOf([-1, 0.5]), dropoutSeed: 7 });
  } finally {
    model.dispose();
  }
}

/** Runs every body of the model at least once: float32 with kept and with recomputed inner results, a tied head, windows of several sizes, several items. */
export function everyBody(ref: Reference): Promise<RecordedBody[]> {
  return recordBodies(async () => {
    for (const features of await ref.model.encodeVideos([...ref.items, ref.items[1]!])) features.dispose();
    await work(ref, { weights: /./u });
    await work(ref, { weights: /norm|bias|proj/u, keepBytes: 0, queryChunk: 7, logitsChunk: 5, vocabChunk: 150 });
    await work(ref, { folder: TIED, weights: /embed_tokens|layers\.0|merger/u });
  });
}

/** The same with matrices in bfloat16, multiplied in either way. */
export async function everyNarrowBody(ref: Reference): Promise<RecordedBody[]> {
  const narrow = { weights: /norm|bias/u, dtype: "bfloat16" } as const;
  return [
    ...(await recordBodies(() => work(ref, narrow), { products: "bfloat16" })),
    ...(await recordBodies(() => work(ref, { ...narrow, products: "float32", folder: TIED }), { products: "float32" })),
  ];
}
