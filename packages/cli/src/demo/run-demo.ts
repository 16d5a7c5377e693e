import { access, mkdir, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { assessFrames, calibrateAssessments, readAnswer, writeProfile, type Profile } from "@dramascope/assessor";
import { loadTemplate } from "@dramascope/prompts";
import type { Prompt } from "@dramascope/qwen-vl";
import { createRandom, readLines, writeFileAtomically, writeJsonl, type Assessment, type GrpoSample, type Message } from "@dramascope/schema";
import { createSampleEncoder } from "@dramascope/trainer";
import { contactSheet, decodeDrama, eachFrame, findFfmpeg, type DramaFrames } from "@dramascope/video";
import type { CommandContext } from "../context.ts";
import { loadModel } from "../model.ts";
import { hashWeights } from "../weight-hashes.ts";
import { ablate, type Ablation } from "./ablation.ts";
import { demoReport } from "./demo-report.ts";
import { loadFixtures, type DemoFixtures } from "./fixtures.ts";
import { wordsRight, type StageResult } from "./judge.ts";
import { ANSWER_TOKENS, FULL_PLAN, QUICK_PLAN } from "./plan.ts";
import { judgeWith, runSeed, stagesOf, type SeedRun, type Workshop } from "./stages.ts";
import { curateWorld, episodeFrames, makeWorld, type WorldData } from "./world-data.ts";

/** Options of {@link runDemo}. */
export interface DemoOptions {
  out: string;
  isQuick: boolean;
  /** Training runs with seeds 0 to seeds − 1. */
  seeds: number;
  /** Also trains without parts of the recipe. */
  ablation: boolean;
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

/** Filmed dramas: real mp4 files, decoded by ffmpeg, against the drawn frames. */
async function checkFilms(shop: Workshop, fixtures: DemoFixtures, world: WorldData, samples: readonly GrpoSample[], truth: (sample: GrpoSample) => string, out: string): Promise<{ films: number; meanDifference: number; equalCaptions: number; wordsRight: number; first: DramaFrames }> {
  const { model, context } = shop;
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
    drawn.push(await shop.encoder.encode(sample));
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
export async function runDemo({ out: outGiven, isQuick, seeds, ablation, context }: DemoOptions): Promise<DemoResult> {
  const out = resolve(outGiven);
  const plan = isQuick ? QUICK_PLAN : FULL_PLAN;
  const fixtures = await loadFixtures();
  const started = performance.now();
  const { phase, seconds } = createStopwatch(context.say);
  await prepareFolder(out, `${JSON.stringify({ plan, seeds, ablation }, null, 2)}\n`);

  const world = await phase("world and hot values", () => makeWorld(fixtures, plan, out));
  const { model, tensorflow, sha256 } = await phase("load the model", () => loadModel(fixtures.baseModel, context));
  const data = await phase("curate with the teacher", () => curateWorld(fixtures, world, plan, out, { signal: context.signal, onProgress: context.progress }));
  const encoder = createSampleEncoder({ model, loadFrames: ({ dramaId, episode }) => Promise.resolve(episodeFrames(fixtures, world, dramaId, episode)) });
  await phase("look at the frames", () => encoder.warm([...data.eval, ...data.sft, ...data.grpo], context.progress));

  const cotTemplate = await loadTemplate(fixtures.prompts.cot);
  const asJson = (sample: GrpoSample): GrpoSample => ({ ...sample, messages: sample.messages.map(({ role, content }): Message => ({ role, content: typeof content === "string" ? content : [...content.slice(0, -1), { type: "text", text: cotTemplate.render({}) }] })) });
  const prompts: Workshop["prompts"] = { tags: [], json: [] };
  for (const sample of data.eval) {
    prompts.tags.push(await encoder.encode(sample));
    prompts.json.push(await encoder.encode(asJson(sample)));
  }
  const shop: Workshop = { model, modelHash: sha256, encoder, context, plan, data, prompts, gold: data.eval.map(({ quality }) => quality) };
  const base = await phase("judge: base", async () => [await judgeWith(shop, undefined, "base", null, "tags"), await judgeWith(shop, undefined, "base, JSON prompt", null, "json")]);

  const runs: SeedRun[] = [];
  const ablations: Ablation[] = [];
  for (let seed = 0; seed < seeds; seed++) {
    const suffix = seeds === 1 ? "" : `, seed ${seed}`;
    const run = await phase(`train SFT and GRPO${suffix}`, () => runSeed(shop, join(out, "runs", `seed-${seed}`), seed));
    runs.push(run);
    if (ablation) ablations.push(await phase(`train without parts of the recipe${suffix}`, () => ablate(shop, base[0]!, run)));
  }
  const last = runs[0]!;

  const profile: Profile = {
    format: "dramascope.profile", prompt: await readFile(fixtures.prompts.grpo, "utf8"), answer: "tags", plan: FRAME_PLAN, clock: "continuous", timeBase: "pinned", maxNewTokens: ANSWER_TOKENS.tags, notice: WORLD_NOTICE,
    calibration: calibrateAssessments({ catalogue: `${data.eval.length} held-out dramas of the synthetic world`, scores: last.grpoMean.predictions, gold: shop.gold }),
  };
  await writeProfile(last.adapter, profile);

  const truth = ({ videos }: GrpoSample): string => fixtures.captionOf(world.dramas.get(videos[0]!.dramaId)!.drawn.drama);
  const filmSamples = data.eval.filter((_, i) => i % Math.max(1, Math.floor(data.eval.length / plan.filmed)) === 0).slice(0, plan.filmed);
  const films = await phase("film, decode and compare", () => checkFilms(shop, fixtures, world, filmSamples, truth, out));

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
  const stages = [...base, ...runs.flatMap(stagesOf), ...ablations.flatMap(({ stages }) => stages)];
  const figures = stages.map(({ name, seed, format, readable, accuracy, mse, pcc }): StageFigures => ({ name, seed, format, readable, accuracy, mse, pcc }));
  const report = join(out, "report.html");
  const html = demoReport({
    plan, isQuick, world, data, base, runs, ablations, gold: shop.gold, films, assessed, seconds, total, peakMemory, tensorflow,
    curves: { sft: await readMetrics(join(last.folder, "sft")), grpo: await readMetrics(join(last.folder, "grpo")) },
    baseWords: base[0]!.answers.reduce((sum, { text }, i) => sum + wordsRight(truth(data.eval[i]!), readAnswer(text, "tags").caption), 0) / data.eval.length,
  });
  await writeFileAtomically(join(out, "results.json"), `${JSON.stringify({ stages: figures, ablations: ablations.map(({ seed, training, rewards }) => ({ seed, training, rewards })), seconds, total, peakMemory, tensorflow: { backend: tensorflow.backend, version: tensorflow.version } }, null, 2)}\n`);
  await writeFileAtomically(report, html);
  encoder.dispose();
  model.dispose();
  for (const { name, seed, pcc, accuracy, mse, readable } of figures) context.say(`${(seed === null ? name : `${name} (seed ${seed})`).padEnd(38)} PCC ${pcc.value.toFixed(3)} [${pcc.low.toFixed(2)}, ${pcc.high.toFixed(2)}]  ACC ${accuracy.value.toFixed(3)}  MSE ${mse.value.toFixed(2)}  readable ${readable.toFixed(3)}`);
  context.say(`${total.toFixed(0)} s, peak memory ${(peakMemory / 1e9).toFixed(2)} GB`);
  context.say(`report: ${report}`);
  return { report, stages: figures, seconds, peakMemory };
}
