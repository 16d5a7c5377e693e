import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { lineChart, renderReport, table, type LineSeries } from "@dramascope/report";
import { writeFileAtomically } from "@dramascope/schema";
import { requestOf, type StepShape, type StepSide, type Way } from "./grpo-side.ts";

/** Where the charts go. */
export const GROWTH_PAGE = fileURLToPath(new URL("../../.cache/bench/grpo-growth.html", import.meta.url));

/** One place of the curves, by name of the way. */
export interface GrowthPoint {
  completions: number;
  prompt: number;
  /** Processor seconds of a step, one thread. */
  seconds: Record<string, number>;
  /** Memory that the step added at most, MiB. */
  addedMiB: Record<string, number>;
}

/** Seconds and memory by number of completions and by length of the prompt. */
export interface Growth {
  byCompletions: GrowthPoint[];
  byPrompt: GrowthPoint[];
}

/** A way of a side to measure; every place gets a fresh process, so that memory is that of one step. */
export interface Runner {
  name: string;
  way: Way;
  open: () => Promise<StepSide>;
}

async function measure(runners: readonly Runner[], shape: StepShape, warmUp: boolean): Promise<GrowthPoint> {
  const point: GrowthPoint = { completions: shape.completions, prompt: shape.prompt, seconds: {}, addedMiB: {} };
  for (const { name, way, open } of runners) {
    const side = await open();
    const request = requestOf("step", way, shape);
    const first = await side.ask(request); // builds its functions
    const answer = warmUp ? await side.ask(request) : first;
    side.end();
    point.seconds[name] = Number(answer.cpuSeconds.toFixed(3));
    point.addedMiB[name] = Math.round(first.peakMiB - first.startMiB);
  }
  return point;
}

function lines(points: readonly GrowthPoint[], x: "completions" | "prompt", y: "seconds" | "addedMiB"): LineSeries[] {
  return Object.keys(points[0]!.seconds).map((name) => ({ name, points: points.map((point) => [point[x], point[y][name]!] as const) }));
}

/** Rows for people: place, then seconds and MiB of every way. */
export function growthTable(points: readonly GrowthPoint[]): string {
  return points.map(({ completions, prompt, seconds, addedMiB }) => `  N ${completions}, P ${prompt}: ${Object.keys(seconds).map((name) => `${name} ${seconds[name]!.toFixed(2)} s, ${addedMiB[name]!} MiB`).join("; ")}`).join("\n");
}

/** What is measured where, and on which step. */
export interface GrowthPlan {
  base: StepShape;
  completions: readonly number[];
  prompts: readonly number[];
  /** Whether a step that builds functions comes before the one that is timed. */
  warmUp: boolean;
}

/** Measures steps that grow. */
export async function measureGrowth(runners: readonly Runner[], { base, completions, prompts, warmUp }: GrowthPlan): Promise<Growth> {
  const growth: Growth = { byCompletions: [], byPrompt: [] };
  for (const n of completions) growth.byCompletions.push(await measure(runners, { ...base, completions: n }, warmUp));
  for (const prompt of prompts) growth.byPrompt.push(await measure(runners, { ...base, prompt }, warmUp));
  return growth;
}

/** Writes the charts and tables of {@link measureGrowth} to {@link GROWTH_PAGE}. */
export async function drawGrowth({ byCompletions, byPrompt }: Growth, { prompt, completions, tokens }: StepShape): Promise<void> {
  const blocks = (points: readonly GrowthPoint[], x: "completions" | "prompt", xLabel: string) => {
    const chart = (title: string, y: "seconds" | "addedMiB", yLabel: string, digits: number) => {
      const most = Math.max(...points.flatMap((point) => Object.values(point[y])));
      return lineChart({ title, series: lines(points, x, y), xLabel, yLabel, yRange: [0, 1.05 * most], format: (value) => value.toFixed(digits) });
    };
    const ways = Object.keys(points[0]!.seconds);
    return [
      chart("Processor time of a step", "seconds", "seconds", 2),
      chart("Memory added by a step", "addedMiB", "MiB", 0),
      table({
        columns: [x === "prompt" ? "Prompt tokens" : "Completions", ...ways.flatMap((way) => [{ title: `${way}, s`, digits: 2 }, `${way}, MiB`])],
        rows: points.map((point) => [point[x], ...ways.flatMap((way) => [point.seconds[way]!, point.addedMiB[way]!])]),
      }),
    ];
  };
  await mkdir(dirname(GROWTH_PAGE), { recursive: true });
  await writeFileAtomically(GROWTH_PAGE, renderReport({
    title: "How a GRPO step grows",
    sections: [
      { title: "By completions", blocks: blocks(byCompletions, "completions", `completions of ${tokens} tokens after a prompt of ${prompt}`) },
      { title: "By length of the prompt", blocks: blocks(byPrompt, "prompt", `prompt tokens, ${completions} completions of ${tokens}`) },
    ],
  }));
}
