import { access, mkdir, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { assessFrames, calibrateAssessments, readAnswer, writeProfile, type Profile } from "@dramascope/assessor";
import { loadTemplate } from "@dramascope/prompts";
import type { Prompt, QwenVl } from "@dramascope/qwen-vl";
import { createRandom, readLines, writeFileAtomically, writeJsonl, type Assessment, type GrpoSample, type Message } from "@dramascope/schema";
import { createSampleEncoder, trainGrpo, trainSft, type SampleEncoder } from "@dramascope/trainer";
import { contactSheet, decodeDrama, eachFrame, findFfmpeg, type DramaFrames } from "@dramascope/video";
import type { CommandContext } from "../context.ts";
import { loadModel } from "../model.ts";
import { hashWeights } from "../weight-hashes.ts";
import { demoReport, type SeedRun } from "./demo-report.ts";
import { loadFixtures, type DemoFixtures } from "./fixtures.ts";
import { judgeStage, summarise, wordsRight, type StageResult } from "./judge.ts";
import { ANSWER_TOKENS, FULL_PLAN, QUICK_PLAN, type DemoPlan } from "./plan.ts";
import { curateWorld, episodeFrames, makeWorld, type CuratedData, type WorldData } from "./world-data.ts";

/** Options of {@link runDemo}. */
export interface DemoOptions {
  out: string;
  isQuick: boolean;
  /** Training runs with seeds 0 to seeds − 1. */
  seeds: number;
  context: CommandContext;
}

/** A stage's figures without its predictions. */
type StageFigures = Omit<StageResult, "predictions" | "answers">;

/** What the demo ends with. */
export interface DemoResult {
  report: string;
  stages: StageFigures[];
  /** Wall seconds by phase. */
  seconds: Record<string, number>;
  /** Peak resident memory, bytes. */
  peakMemory: number;
}

const ENSEMBLE_PROMPTS = 16;
const FRAME_PLAN = { maxPairTokens: 6, minFrameTokens: 6, floorPairTokens: 6 };
const WORLD_NOTICE = "This tiny model was trained on a synthetic world of drawn dramas. What it says of real films shows that everything runs; it is no judgement.";

/** Measures the phases of the demo. */
function createStopwatch(say: (text: string) => void): { phase: <T>(name: string, work: () => Promise<T>) => Promise<T>; seconds: Record<string, number> } {
  const seconds: Record<string, number> = {};
  return {
    seconds,
    phase: async (name, work) => {
      say(`▸ ${name}`);
      const started = performance.now();
      const result = await work();
      seconds[name] = (seconds[name] ?? 0) + (performance.now() - started) / 1000;
      return result;
    },
  };
}

/** A folder for a new demo, or the one of a demo that did not finish. */
async function prepareFolder(out: string, identity: string): Promise<void> {
  const marker = join(out, "demo.json");
  const known = await readFile(marker, "utf8").catch(() => undefined);
  const isFinished = await access(join(out, "report.html")).then(() => true, () => false);
  if (known !== undefined && (known !== identity || isFinished)) await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  await writeFileAtomically(marker, identity);
}

interface Stage {
  model: QwenVl;
  encoder: SampleEncoder;
  context: CommandContext;
  gold: number[];
  prompts: { tags: Prompt[]; json: Prompt[] };
}

/** Judges the held-out dramas with an adapter, or with the bare model. */
async function judgeWith(stage: Stage, adapter: string | undefined, name: string, seed: number | null, format: "tags" | "json"): Promise<StageResult> {
  const { model, context, prompts, gold } = stage;
  const attached = adapter === undefined ? undefined : await model.attachLora(adapter, { name: `judge ${name}` });
  model.setActiveAdapter(attached?.name ?? "none");
  try {
    return await judgeStage(model, prompts[format], gold, { name, seed, format, maxNewTokens: ANSWER_TOKENS[format], signal: context.signal, onProgress: context.progress });
  } finally {
    attached?.dispose();
  }
}

/** Mean class of several sampled answers to every prompt; an unreadable drama falls back to its greedy answer. */
async function ensembleScores(stage: Stage, adapter: string, samples: number, greedy: StageResult): Promise<number[]> {
  const { model, context, prompts } = stage;
  const attached = await model.attachLora(adapter, { name: "ensemble" });
  model.setActiveAdapter(attached.name);
  try {
    const scores: number[] = [];
    for (let start = 0; start < prompts.tags.length; start += ENSEMBLE_PROMPTS) {
      context.progress({ phase: "several answers each", done: start, total: prompts.tags.length });
      const drawn = await model.generate(prompts.tags.slice(start, start + ENSEMBLE_PROMPTS), { maxNewTokens: ANSWER_TOKENS.tags, n: samples, temperature: 1, seed: start, maxRows: ENSEMBLE_PROMPTS * samples, signal: context.signal });
      context.signal.throwIfAborted();
      for (const group of drawn) {
        const read = group.map(({ text }) => readAnswer(text, "tags").score).filter((score) => score !== null);
        scores.push(read.length === 0 ? greedy.predictions[scores.length]! : read.reduce<number>((sum, score) => sum + score, 0) / read.length);
      }
    }
    context.progress({ phase: "several answers each", done: prompts.tags.length, total: prompts.tags.length });
    return scores;
  } finally {
    attached.dispose();
  }
}

const adamSettings = { beta1: 0.9, beta2: 0.95, maxGradNorm: 1, schedule: "cosine_with_min_lr" as const, minLrRate: 0.1, warmupSteps: 5, lora: { r: 16, alpha: 32, dropout: 0 }, saveSteps: 20 };

/** SFT, GRPO and the JSON row of one seed, each judged on the held-out dramas. */
async function runSeed(stage: Stage, data: CuratedData, plan: DemoPlan, out: string, seed: number, modelHash: string): Promise<SeedRun> {
  const { model, encoder, context } = stage;
  const folder = join(out, "runs", `seed-${seed}`);
  const deps = { model, encoder, signal: context.signal, onProgress: context.progress, onWarning: context.say, modelHash };
  const stopped = (): never => {
    context.signal.throwIfAborted();
    throw new Error("a training run ended early");
  };
  const sftSettings = { ...adamSettings, seed, learningRate: plan.sft.learningRate, epochs: plan.sft.epochs, batchSize: plan.sft.batch };
  const sft = await trainSft({ ...sftSettings, runDir: join(folder, "sft") }, data.sft, deps);
  const sftAdapter = sft.adapter ?? stopped();
  const sftStage = await judgeWith(stage, sftAdapter, "SFT", seed, "tags");
  const grpo = await trainGrpo(
    {
      ...adamSettings, seed, runDir: join(folder, "grpo"), adapter: sftAdapter, learningRate: plan.grpo.learningRate, steps: plan.grpo.steps, promptsPerStep: plan.grpo.promptsPerStep, numGenerations: plan.grpo.completions,
      maxCompletionLength: ANSWER_TOKENS.tags, lossType: "dapo", beta: 0, advantageConvention: "paper",
    },
    data.grpo,
    deps,
  );
  const grpoAdapter = grpo.adapter ?? stopped();
  const grpoStage = await judgeWith(stage, grpoAdapter, "SFT + GRPO", seed, "tags");
  const ensemble = await ensembleScores(stage, grpoAdapter, plan.ensemble, grpoStage);
  const ensembleStage = summarise({ ...grpoStage, name: `SFT + GRPO, mean of ${plan.ensemble} answers`, predictions: ensemble }, stage.gold);
  let jsonStage: StageResult | undefined;
  if (plan.jsonRow) {
    const json = await trainSft({ ...sftSettings, runDir: join(folder, "sft-json") }, data.sftJson, deps);
    jsonStage = await judgeWith(stage, json.adapter ?? stopped(), "SFT on JSON, JSON prompt", seed, "json");
  }
  return { seed, folder, adapter: grpoAdapter, sft: sftStage, grpo: grpoStage, ensemble: ensembleStage, json: jsonStage };
}

/** Filmed dramas: real mp4 files, decoded by ffmpeg, against the drawn frames. */
async function checkFilms(stage: Stage, fixtures: DemoFixtures, world: WorldData, samples: readonly GrpoSample[], truth: (sample: GrpoSample) => string, out: string): Promise<{ films: number; meanDifference: number; equalCaptions: number; wordsRight: number; first: DramaFrames }> {
  const { model, context } = stage;
  const { path } = await findFfmpeg();
  const prompts: Prompt[] = [];
  const drawn: Prompt[] = [];
  let [difference, values] = [0, 0];
  let first: DramaFrames | undefined;
  for (const [i, sample] of samples.entries()) {
    context.signal.throwIfAborted();
    const { dramaId } = sample.videos[0]!;
    const episodes = await fixtures.filmDrama(world.dramas.get(dramaId)!.drawn.drama, { ffmpeg: path, folder: join(out, "films"), createRandom });
    const drama = await decodeDrama(episodes.map((episode) => ({ path: episode })), { plan: FRAME_PLAN, signal: context.signal });
    first ??= drama;
    drama.episodes.forEach(({ frames }, k) => {
      const reference = episodeFrames(fixtures, world, dramaId, k + 1).frames;
      for (let at = 0; at < frames.length; at++) difference += Math.abs(frames[at]! - reference[at]!);
      values += frames.length;
    });
    const films = createSampleEncoder({ model, loadFrames: ({ episode }) => Promise.resolve(drama.episodes[episode - 1]!) });
    prompts.push(await films.encode(sample));
    drawn.push(await stage.encoder.encode(sample));
    context.progress({ phase: "film and decode", done: i + 1, total: samples.length });
  }
  model.setActiveAdapter("none");
  const captions = async (list: readonly Prompt[]): Promise<(string | null)[]> => (await model.generate(list, { maxNewTokens: ANSWER_TOKENS.tags, temperature: 0, maxRows: 64 })).map(([one]) => readAnswer(one!.text, "tags").caption);
  const [filmed, plain] = [await captions(prompts), await captions(drawn)];
  prompts.forEach(({ features }) => features?.forEach((one) => one.dispose()));
  return {
    films: samples.length,
    meanDifference: difference / values,
    equalCaptions: filmed.filter((caption, i) => caption === plain[i]).length / samples.length,
    wordsRight: filmed.reduce((sum, caption, i) => sum + wordsRight(truth(samples[i]!), caption), 0) / samples.length,
    first: first!,
  };
}

async function readMetrics(folder: string): Promise<Record<string, number | null>[]> {
  const records: Record<string, number | null>[] = [];
  for await (const { text } of readLines(join(folder, "metrics.jsonl"))) records.push(JSON.parse(text) as Record<string, number | null>);
  return records;
}

/** The whole pipeline, from the audience's figures to a report. The same command goes on after a stop. */
export async function runDemo({ out: outGiven, isQuick, seeds, context }: DemoOptions): Promise<DemoResult> {
  const out = resolve(outGiven);
  const plan = isQuick ? QUICK_PLAN : FULL_PLAN;
  const fixtures = await loadFixtures();
  const started = performance.now();
  const { phase, seconds } = createStopwatch(context.say);
  await prepareFolder(out, `${JSON.stringify({ plan, seeds }, null, 2)}\n`);

  const world = await phase("world and hot values", () => makeWorld(fixtures, plan, out));
  const { model, tensorflow, sha256 } = await phase("load the model", () => loadModel(fixtures.baseModel, context));
  const data = await phase("curate with the teacher", () => curateWorld(fixtures, world, plan, out, { signal: context.signal, onProgress: context.progress }));
  const encoder = createSampleEncoder({ model, loadFrames: ({ dramaId, episode }) => Promise.resolve(episodeFrames(fixtures, world, dramaId, episode)) });
  await phase("look at the frames", () => encoder.warm([...data.eval, ...data.sft, ...data.grpo], context.progress));

  const cotTemplate = await loadTemplate(fixtures.prompts.cot);
  const asJson = (sample: GrpoSample): GrpoSample => ({ ...sample, messages: sample.messages.map(({ role, content }): Message => ({ role, content: typeof content === "string" ? content : [...content.slice(0, -1), { type: "text", text: cotTemplate.render({}) }] })) });
  const prompts: Stage["prompts"] = { tags: [], json: [] };
  for (const sample of data.eval) {
    prompts.tags.push(await encoder.encode(sample));
    prompts.json.push(await encoder.encode(asJson(sample)));
  }
  const stage: Stage = { model, encoder, context, gold: data.eval.map(({ quality }) => quality), prompts };
  const base = await phase("judge: base", async () => [await judgeWith(stage, undefined, "base", null, "tags"), await judgeWith(stage, undefined, "base, JSON prompt", null, "json")]);

  const runs: SeedRun[] = [];
  for (let seed = 0; seed < seeds; seed++) runs.push(await phase(seeds === 1 ? "train SFT and GRPO" : `train SFT and GRPO, seed ${seed}`, () => runSeed(stage, data, plan, out, seed, sha256)));
  const last = runs[0]!;

  const profile: Profile = {
    format: "dramascope.profile", prompt: await readFile(fixtures.prompts.grpo, "utf8"), answer: "tags", plan: FRAME_PLAN, clock: "continuous", timeBase: "pinned", maxNewTokens: ANSWER_TOKENS.tags, notice: WORLD_NOTICE,
    calibration: calibrateAssessments({ catalogue: `${data.eval.length} held-out dramas of the synthetic world`, scores: last.ensemble.predictions, gold: stage.gold }),
  };
  await writeProfile(last.adapter, profile);

  const truth = ({ videos }: GrpoSample): string => fixtures.captionOf(world.dramas.get(videos[0]!.dramaId)!.drawn.drama);
  const filmSamples = data.eval.filter((_, i) => i % Math.max(1, Math.floor(data.eval.length / plan.filmed)) === 0).slice(0, plan.filmed);
  const films = await phase("film, decode and compare", () => checkFilms(stage, fixtures, world, filmSamples, truth, out));

  const assessed = await phase("assess", async () => {
    const attached = await model.attachLora(last.adapter, { name: "assess" });
    model.setActiveAdapter(attached.name);
    const template = await loadTemplate(fixtures.prompts.grpo);
    const results: { assessment: Assessment; drama: DramaFrames }[] = [];
    const dramas: { dramaId: string; drama: DramaFrames; warnings: string[] }[] = [{ dramaId: filmSamples[0]!.videos[0]!.dramaId, drama: films.first, warnings: [] }];
    for (const clip of fixtures.clips) dramas.push({ dramaId: clip.split(/[/\\]/u).at(-1)!, drama: await decodeDrama([{ path: clip }], { plan: FRAME_PLAN, signal: context.signal, onProgress: context.progress }), warnings: [WORLD_NOTICE] });
    for (const { dramaId, drama, warnings } of dramas) {
      const assessment = await assessFrames(
        { dramaId, episodes: drama.episodes, frames: { strideSeconds: drama.plan.strideSeconds, clock: "continuous" }, warnings },
        { model, template, samples: 16, maxNewTokens: ANSWER_TOKENS.tags, calibration: profile.calibration!, identity: { model: { name: "demo-base", sha256 }, adapter: { name: "SFT + GRPO, seed 0", sha256: await hashWeights(last.adapter) } }, signal: context.signal },
      );
      results.push({ assessment, drama });
    }
    attached.dispose();
    await writeJsonl(join(out, "assessments.jsonl"), results.map(({ assessment }) => assessment));
    return Promise.all(results.map(async ({ assessment, drama }) => ({ assessment, sheets: await Promise.all(drama.episodes.map((episode) => contactSheet(eachFrame(episode), { maxFrames: 40 }))) })));
  });

  const peakMemory = process.resourceUsage().maxRSS * 1024;
  const total = (performance.now() - started) / 1000;
  const stages = [...base, ...runs.flatMap(({ sft, grpo, ensemble, json }) => [sft, grpo, ensemble, ...(json ? [json] : [])])];
  const figures = stages.map(({ predictions: _predictions, answers: _answers, ...rest }) => rest);
  const report = join(out, "report.html");
  const html = demoReport({
    plan, isQuick, world, data, base, runs, gold: stage.gold, films, assessed, seconds, total, peakMemory, tensorflow,
    curves: { sft: await readMetrics(join(last.folder, "sft")), grpo: await readMetrics(join(last.folder, "grpo")) },
    baseWords: base[0]!.answers.reduce((sum, { text }, i) => sum + wordsRight(truth(data.eval[i]!), readAnswer(text, "tags").caption), 0) / data.eval.length,
  });
  await writeFileAtomically(join(out, "results.json"), `${JSON.stringify({ stages: figures, seconds, total, peakMemory, tensorflow: { backend: tensorflow.backend, version: tensorflow.version } }, null, 2)}\n`);
  await writeFileAtomically(report, html);
  encoder.dispose();
  model.dispose();
  for (const { name, seed, pcc, accuracy, mse, readable } of figures) context.say(`${(seed === null ? name : `${name} (seed ${seed})`).padEnd(38)} PCC ${pcc.value.toFixed(3)} [${pcc.low.toFixed(2)}, ${pcc.high.toFixed(2)}]  ACC ${accuracy.value.toFixed(3)}  MSE ${mse.value.toFixed(2)}  readable ${readable.toFixed(3)}`);
  context.say(`${total.toFixed(0)} s, peak memory ${(peakMemory / 1e9).toFixed(2)} GB`);
  context.say(`report: ${report}`);
  return { report, stages: figures, seconds, peakMemory };
}
