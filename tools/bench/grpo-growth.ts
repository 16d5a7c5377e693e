import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { lineChart, renderReport, type LineSeries } from "@dramascope/report";
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

/** Measures steps that grow and writes their charts to {@link GROWTH_PAGE}. */
export async function measureGrowth(runners: readonly Runner[], base: StepShape, { completions, prompts, warmUp }: { completions: readonly number[]; prompts: readonly number[]; warmUp: boolean }): Promise<Growth> {
  const growth: Growth = { byCompletions: [], byPrompt: [] };
  for (const n of completions) growth.byCompletions.push(await measure(runners, { ...base, completions: n }, warmUp));
  for (const prompt of prompts) growth.byPrompt.push(await measure(runners, { ...base, prompt }, warmUp));
  const charts = (points: readonly GrowthPoint[], x: "completions" | "prompt", xLabel: string) => [
    lineChart({ title: "Processor time of a step", series: lines(points, x, "seconds"), xLabel, yLabel: "seconds" }),
    lineChart({ title: "Memory added by a step", series: lines(points, x, "addedMiB"), xLabel, yLabel: "MiB" }),
  ];
  await mkdir(dirname(GROWTH_PAGE), { recursive: true });
  await writeFileAtomically(GROWTH_PAGE, renderReport({
    title: "How a GRPO step grows",
    sections: [
      { title: "By completions", blocks: charts(growth.byCompletions, "completions", `completions of a prompt of ${base.prompt} tokens`) },
      { title: "By length of the prompt", blocks: charts(growth.byPrompt, "prompt", `prompt tokens, ${base.completions} completions`) },
    ],
  }));
  return growth;
}
