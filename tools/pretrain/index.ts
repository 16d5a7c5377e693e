/**
 * Makes a tiny Qwen2.5-VL like the one that ships with the fixtures: it sees drawn dramas, retells them and keeps to the answer forms,
 * and knows nothing about quality.
 *
 *     npm run pretrain -- --out my-base [--steps-a 1107] [--steps-b 490] [--dramas 4000] [--seed 0]
 */
import { access, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { loadQwenVl, framesToVisionItem, openSafetensors, writeSafetensors, type NamedArray, type Prompt, type QwenVl } from "@dramascope/qwen-vl";
import { createRandom, writeFolderAtomically, type Random } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { drawStampedFrames, EPISODES, FRAME_BYTES, FRAME_HEIGHT, FRAME_WIDTH, FRAMES_PER_EPISODE } from "@dramascope/test-fixtures/world/frames.ts";
import { captionOf } from "@dramascope/test-fixtures/world/language.ts";
import { drawWorld } from "@dramascope/test-fixtures/world/latent.ts";
import type { WorldDrama } from "@dramascope/test-fixtures/world/traits.ts";
import { AdamW, clipGradNorm } from "@dramascope/trainer";
import { drawNumber } from "@dramascope/video";
import { configOf, freshWeights } from "./fresh-weights.ts";
import { answerOf, corpusOf, requestOf, TASKS, type Task, type Verdict } from "./tasks.ts";
import { learnTokenizer } from "./tokenizer.ts";

/** Settings of {@link pretrain}. */
export interface PretrainOptions {
  /** Folder of the new checkpoint; must not exist. */
  out: string;
  /** Steps of the phase that learns to see. Default 1107. */
  stepsA?: number;
  /** Steps of the phase that ties the answer forms together. Default 490. */
  stepsB?: number;
  /** Dramas of the neutral world; one in twenty is held out. Default 4000. */
  dramas?: number;
  /** Samples a step. Default 32. */
  batch?: number;
  /** Default 0. */
  seed?: number;
  say?: (line: string) => void;
}

/** What {@link pretrain} reached. */
export interface PretrainResult {
  /** Loss of every step, nats a token. */
  losses: number[];
  /** Share of the held-out captions' words that stand right. */
  wordsRight: number;
}

interface Phase {
  steps: number;
  peakRate: number;
  warmup: number;
  verdict: Verdict;
  /** Share of batches with noise on the pixels. */
  noisy: number;
  /** Shares of the tasks in the course of the phase, 0 to 1. */
  tasks: (course: number) => Partial<Record<Task, number>>;
}

const WORLD_SEED = 77;
const NOISE_LEVELS = 4;

const phases = (stepsA: number, stepsB: number): Phase[] => [
  { steps: stepsA, peakRate: 3e-3, warmup: 100, verdict: "random", noisy: 0, tasks: (course) => (course < 0.5 ? { caption: 0.6, grpo: 0.15, cot: 0.25 } : { caption: 0.2, grpo: 0.55, cot: 0.25 }) },
  { steps: stepsB, peakRate: 1.5e-3, warmup: 30, verdict: "consistent", noisy: 1 / 3, tasks: () => ({ caption: 0.1, cot: 0.25, grpo: 0.25, tags: 0.25, json: 0.15 }) },
];

/** Rises, stays for three tenths of the phase, falls by a half-cosine to 2 %. */
function rateAt(step: number, { steps, peakRate, warmup }: Phase): number {
  const rise = Math.min(warmup, Math.ceil(steps / 10));
  if (step < rise) return (peakRate * (step + 1)) / rise;
  const course = step / steps;
  return course < 0.3 ? peakRate : peakRate * (0.02 + 0.98 * 0.5 * (1 + Math.cos((Math.PI * (course - 0.3)) / 0.7)));
}

function drawTask(shares: Partial<Record<Task, number>>, random: Random): Task {
  let u = random.uniform();
  for (const task of TASKS) if ((u -= shares[task] ?? 0) < 0) return task;
  return "grpo";
}

function addNoise(frames: Uint8Array, random: Random): void {
  for (let i = 0; i < frames.length; i++) frames[i] = Math.min(255, Math.max(0, frames[i]! + random.below(2 * NOISE_LEVELS + 1) - NOISE_LEVELS));
}

/** The request for a drama with its frames in place, as the product builds it. */
function promptOf(model: QwenVl, drama: WorldDrama, task: Task, noise?: Random): Prompt {
  const frames = drawStampedFrames(drama, createRandom, drawNumber);
  if (noise) addNoise(frames, noise);
  const size = FRAMES_PER_EPISODE * FRAME_BYTES;
  const episodes = Array.from({ length: EPISODES }, (_, k) => framesToVisionItem({ frames: frames.subarray(k * size, (k + 1) * size), frameCount: FRAMES_PER_EPISODE, width: FRAME_WIDTH, height: FRAME_HEIGHT }));
  const parts = episodes.flatMap((item, k) => [{ type: "text" as const, text: `Episode ${k + 1}:` }, { type: "video" as const, item }]);
  return model.prepare([{ role: "user", content: [...parts, { type: "text", text: requestOf(task) }] }]);
}

/** AdamW with decay on matrices only, on all weights of the model. */
function createLearner(model: QwenVl): (rate: number) => Promise<void> {
  const set = model.trainable(/./u);
  const isMatrix = set.names.map((name) => {
    const value = set.value(name);
    value.dispose();
    return value.rank > 1;
  });
  const groups = [true, false].map((matrices) => ({ optimizer: new AdamW({ beta1: 0.9, beta2: 0.98, weightDecay: matrices ? 0.02 : 0 }), members: isMatrix.flatMap((is, i) => (is === matrices ? [i] : [])) }));
  return async (rate) => {
    const [values, gradients] = [await set.readValues(), await set.readGradients()];
    clipGradNorm(gradients, 1);
    for (const { optimizer, members } of groups) optimizer.step(members.map((i) => values[i]!), members.map((i) => gradients[i]!), rate);
    set.assignAll(values);
    set.zeroGradients();
  };
}

/** One batch of one task; returns the loss per answer token. */
async function learnFrom(model: QwenVl, dramas: readonly WorldDrama[], task: Task, { verdict }: Phase, random: Random, noise: Random | undefined): Promise<number> {
  const end = model.tokenizer.idOf("<|im_end|>")!;
  const groups = dramas.map((drama) => ({ prompt: promptOf(model, drama, task, noise), completions: [[...model.tokenizer.encode(answerOf(task, drama, verdict, random)), end]] }));
  const tokens = groups.reduce((sum, { completions }) => sum + completions[0]!.length, 0);
  const { loss } = await model.groupLogProbsWithGradient(groups, {
    gradient: (logProbs) => ({ loss: -logProbs.flat().reduce((sum, one) => sum + one.reduce((a, b) => a + b, 0), 0) / tokens, dLogProbs: logProbs.map((group) => group.map((one) => one.map(() => -1 / tokens))) }),
  });
  return loss;
}

/** Greedy captions of dramas that were never shown, word by word against the truth. */
async function checkSight(model: QwenVl, dramas: readonly WorldDrama[]): Promise<number> {
  const drawn = await model.generate(dramas.map((drama) => promptOf(model, drama, "caption")), { maxNewTokens: 80, temperature: 0, maxRows: 32 });
  const shares = drawn.map(([answer], i) => {
    const words = captionOf(dramas[i]!).split(" ");
    const given = answer!.text.split(" ");
    return words.filter((word, k) => word === given[k]).length / words.length;
  });
  return shares.reduce((a, b) => a + b, 0) / shares.length;
}

/** The weights as they are now, rounded to half precision when written. */
async function readWeights(folder: string, model: QwenVl): Promise<NamedArray[]> {
  await model.saveMerged(folder);
  const file = await openSafetensors(join(folder, "model.safetensors"));
  try {
    const weights: NamedArray[] = [];
    for (const name of file.names) {
      const { shape, values } = await file.read(name);
      weights.push({ name, shape, values: values as Float32Array, dtype: "F16" });
    }
    return weights;
  } finally {
    await file.close();
  }
}

/** Trains a base from random weights and writes it as a checkpoint folder, whole or absent. */
export async function pretrain({ out, stepsA = 1107, stepsB = 490, dramas = 4000, batch = 32, seed = 0, say = () => undefined }: PretrainOptions): Promise<PretrainResult> {
  const folder = resolve(out);
  if (await access(folder).then(() => true, () => false)) throw new Error(`${out} is there already: give another --out, or move it away`);
  const world = drawWorld({ seed: WORLD_SEED, count: dramas, createRandom, neutral: true }).map(({ drama }) => drama);
  const heldOut = world.splice(0, Math.ceil(dramas / 20));
  const random = createRandom(seed, { stream: 1 });
  const tokenizer = learnTokenizer(corpusOf(world, createRandom(seed, { stream: 2 })), { targetSize: 640, minFrequency: 2 });
  return writeFolderAtomically(folder, async (work) => {
    await writeFile(join(work, "config.json"), `${JSON.stringify(configOf(tokenizer.size, tokenizer.idOf), null, 2)}\n`);
    await writeFile(join(work, "tokenizer.json"), `${JSON.stringify(tokenizer.json, null, 1)}\n`);
    await writeSafetensors(join(work, "model.safetensors"), freshWeights(tokenizer.size, createRandom(seed, { stream: 3 })));
    const { tf } = await loadTensorFlow({ threads: 2 });
    const model = await loadQwenVl(work, { tf });
    say(`${model.info.parameters} weights, vocabulary ${tokenizer.size}, ${world.length} dramas`);
    const learn = createLearner(model);
    const losses: number[] = [];
    const started = performance.now();
    for (const phase of phases(stepsA, stepsB)) {
      for (let step = 0; step < phase.steps; step++) {
        const task = drawTask(phase.tasks(step / phase.steps), random);
        const chosen = Array.from({ length: batch }, () => world[random.below(world.length)]!);
        const noise = random.uniform() < phase.noisy ? random : undefined;
        losses.push(await learnFrom(model, chosen, task, phase, random, noise));
        await learn(rateAt(step, phase));
        const seconds = (performance.now() - started) / 1000 / losses.length;
        say(`step ${losses.length}/${stepsA + stepsB}  ${task.padEnd(7)}  loss ${losses.at(-1)!.toFixed(3)}  ${(seconds * (stepsA + stepsB - losses.length)).toFixed(0)} s left`);
      }
    }
    const weights = await readWeights(join(work, "full"), model);
    model.dispose();
    await rm(join(work, "full"), { recursive: true });
    await writeSafetensors(join(work, "model.safetensors"), weights);
    const finished = await loadQwenVl(work, { tf });
    const wordsRight = await checkSight(finished, heldOut.slice(0, 200));
    finished.dispose();
    say(`caption words right on held-out dramas: ${(100 * wordsRight).toFixed(1)} %`);
    return { losses, wordsRight };
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values } = parseArgs({ options: { out: { type: "string" }, "steps-a": { type: "string" }, "steps-b": { type: "string" }, dramas: { type: "string" }, seed: { type: "string" } } });
  const count = (name: "steps-a" | "steps-b" | "dramas" | "seed"): number | undefined => {
    const text = values[name];
    if (text !== undefined && !/^\d{1,9}$/u.test(text)) throw new Error(`--${name} wants a whole number, got ${JSON.stringify(text)}`);
    return text === undefined ? undefined : Number(text);
  };
  if (values.out === undefined) throw new Error("--out FOLDER is missing");
  const given = { stepsA: count("steps-a"), stepsB: count("steps-b"), dramas: count("dramas"), seed: count("seed") };
  await pretrain({ out: values.out, ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<PretrainOptions>), say: (line) => process.stderr.write(`${line}\n`) });
}
