import { findFfmpeg, type EpisodePlan } from "@dramascope/video";
import { median, type Bench } from "./result.ts";
import { bareDecode, cost, drain, realClips, wholePipeline, writeJpegs, type Clip } from "./video-cost.ts";
import { memory, throughput } from "./video-many.ts";
import { findPython, likeness, pythonFigures, READERS, type Reader } from "./video-python.ts";

const GOAL = 1.1;
const JPEG_GOAL = 1.25;
const PYTHON_GOAL = 2;
/** Visual tokens that one episode alone may take on both sides. */
const TOKEN_BUDGET = 16_384;

/** Sizes that every clip is decoded to; without one it gets what a drama of it alone gets. */
const SIZES: readonly (Pick<EpisodePlan, "width" | "height"> | undefined)[] = [{ width: 560, height: 1008 }, { width: 168, height: 308 }, undefined];

type Side = "bare" | "ours" | "pipeline" | "jpeg";
type Figures = Partial<Record<Side, number[]>>;

const least = (values: readonly number[] | undefined): number => Math.min(...(values ?? []));
const sumOf = (all: readonly Figures[], side: Side): number => all.reduce((sum, figures) => sum + least(figures[side]), 0);

/** Processor seconds of each side, in turn. */
async function race(sides: Partial<Record<Side, () => Promise<unknown>>>, rounds: number): Promise<Figures> {
  const figures: Figures = {};
  for (let round = 0; round < rounds; round++) for (const [side, work] of Object.entries(sides) as [Side, () => Promise<unknown>][]) (figures[side] ??= []).push(await cost(work));
  return figures;
}

interface PythonRace {
  /** Processor seconds of qwen-vl-utils to ours, both from the file on; null when the reader fails. */
  ratios: Record<Reader, number | null>;
  clips: Record<string, unknown>;
}

/** The path that Python users have, at one frame a second under the same budget, in turns with ours, and how near our frames are to what Python makes. */
async function pythonRace(python: string, clips: readonly Clip[], { repeats, say }: { repeats: number; say: (text: string) => void }): Promise<PythonRace> {
  const totals: Record<Reader, number | null> = { torchvision: 0, decord: 0 };
  let ours = 0;
  const found: Record<string, unknown> = {};
  for (const { name, path } of clips) {
    const rounds = [];
    for (let round = 0; round < repeats; round++) {
      const figures = READERS.map((reader) => [reader, pythonFigures(python, path, reader, { tokens: TOKEN_BUDGET, repeats: 1, say })] as const);
      rounds.push({ ...(Object.fromEntries(figures) as Record<Reader, ReturnType<typeof pythonFigures>>), ours: await cost(() => wholePipeline(path)) });
    }
    ours += Math.min(...rounds.map((round) => round.ours));
    for (const reader of READERS) {
      const seconds = rounds.map((round) => round[reader]?.seconds ?? null);
      const total = totals[reader];
      totals[reader] = total === null || seconds.includes(null) ? null : total + Math.min(...(seconds as number[]));
    }
    found[name] = { rounds, psnr: await likeness(python, path) };
  }
  const ratio = (seconds: number | null): number | null => (seconds === null ? null : seconds / ours);
  return { ratios: { torchvision: ratio(totals.torchvision), decord: ratio(totals.decord) }, clips: found };
}

/** Numbered rgb24 frames of a file against the bare ffmpeg that decodes and scales the same: processor seconds of all processes, both clips and all sizes together. */
export const bench: Bench = async ({ isQuick, withPython, say }) => {
  const rounds = isQuick ? 2 : 5;
  const { path: ffmpeg, version } = await findFfmpeg();
  const clips = await realClips();
  await drain(clips[1]!, clips[1]!.plan); // once for the compiler
  const cases: Record<string, unknown> = {};
  const all: Figures[] = [];
  const alone: Figures[] = [];
  for (const clip of clips) {
    for (const size of SIZES) {
      const plan = { ...clip.plan, ...size };
      const sides = { bare: () => bareDecode(ffmpeg, clip.path, plan), ours: () => drain(clip, plan) };
      const figures = await race(size === undefined ? { ...sides, pipeline: () => wholePipeline(clip.path), jpeg: () => writeJpegs(clip.path) } : sides, rounds);
      all.push(figures);
      if (size === undefined) alone.push(figures);
      const bareSeconds = least(figures.bare);
      const ratios = Object.fromEntries(Object.entries(figures).map(([side, seconds]) => [side, least(seconds) / bareSeconds]));
      cases[`${clip.name} ${plan.width}x${plan.height}`] = { ratios, bareSeconds, bareMedian: median(figures.bare!), oursMedian: median(figures.ours!) };
      say(`${clip.name} at ${plan.width} x ${plan.height}: ${Object.entries(ratios).map(([side, ratio]) => `${side} ${ratio.toFixed(3)}`).join(", ")} of ${bareSeconds.toFixed(2)} s`);
    }
  }
  const [ours, peer, bareAlone, pipelineAlone] = [sumOf(all, "ours"), sumOf(all, "bare"), sumOf(alone, "bare"), sumOf(alone, "pipeline")];
  const python = findPython(withPython, say);
  const pythonFound = python === null ? null : await pythonRace(python, clips, { repeats: isQuick ? 1 : 3, say });
  const pythonRatio = pythonFound?.ratios.torchvision ?? null;
  say(pythonRatio === null ? "Python with qwen-vl-utils is not here" : `qwen-vl-utils takes ${pythonRatio.toFixed(2)} times ours with torchvision, ${pythonFound?.ratios.decord?.toFixed(2) ?? "no"} times with decord`);
  return {
    name: "video",
    ratio: ours / peer,
    goal: `at most ${GOAL} times a bare ffmpeg decode and scale${pythonRatio === null ? "" : `, and qwen-vl-utils with torchvision at least ${PYTHON_GOAL} times ours`}`,
    met: ours / peer <= GOAL && (pythonRatio === null || pythonRatio >= PYTHON_GOAL),
    ours: Number(ours.toFixed(3)),
    peer: Number(peer.toFixed(3)),
    unit: "s of processor time",
    runs: rounds,
    peerName: `ffmpeg ${version}, frames thrown away`,
    extra: {
      cases,
      pipeline: pipelineAlone / bareAlone,
      jpeg: { ratio: sumOf(alone, "jpeg") / bareAlone, goal: JPEG_GOAL },
      python: pythonFound,
      many: await throughput(clips, isQuick ? 8 : 100),
      memory: memory(ffmpeg, clips[0]!.path, isQuick ? 360 : 1800),
    },
  };
};
