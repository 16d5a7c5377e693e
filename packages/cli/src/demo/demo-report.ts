import { assessmentSection, barChart, bulletList, callout, columns, funnelChart, histogram, intervalPlot, keyFigures, keyValues, lineChart, paragraph, renderReport, table, type Block, type Cell, type Section } from "@dramascope/report";
import type { Assessment } from "@dramascope/schema";
import type { LoadedTensorFlow } from "@dramascope/tensorflow";
import { stageGain, type Estimate, type StageResult } from "./judge.ts";
import { ablationSections } from "./ablation-report.ts";
import type { Ablation } from "./ablation.ts";
import type { DemoPlan } from "./plan.ts";
import { stagesOf, type SeedRun } from "./stages.ts";
import type { CuratedData, WorldData } from "./world-data.ts";

/** Everything the report shows. */
export interface DemoFacts {
  plan: DemoPlan;
  isQuick: boolean;
  world: WorldData;
  data: CuratedData;
  base: StageResult[];
  runs: SeedRun[];
  /** One a seed; empty where none was asked for. */
  ablations: Ablation[];
  gold: number[];
  films: { films: number; meanDifference: number; equalCaptions: number; wordsRight: number };
  assessed: { assessment: Assessment; sheets: Uint8Array[] }[];
  curves: { sft: Record<string, number | null>[]; grpo: Record<string, number | null>[] };
  /** Share of caption words that the base has right. */
  baseWords: number;
  seconds: Record<string, number>;
  total: number;
  /** Bytes. */
  peakMemory: number;
  tensorflow: LoadedTensorFlow;
}

const fixed = (value: number, digits = 3): string => value.toFixed(digits).replace("-", "−");
const withInterval = ({ value, low, high }: Estimate, digits = 2): string => `${fixed(value)} [${fixed(low, digits)}, ${fixed(high, digits)}]`;
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const labelOf = ({ name, seed }: StageResult, isSingle: boolean): string => (seed === null || isSingle ? name : `${name}, seed ${seed}`);

const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** What the order of the stages says, in words that fit what was measured. */
function verdict({ base, runs, gold }: DemoFacts): string {
  const [plain, sft, grpo] = [base[0]!.pcc.value, meanOf(runs.map((run) => run.sft.pcc.value)), meanOf(runs.map((run) => run.grpo.pcc.value))];
  const gains = runs.map((run) => stageGain(gold, run.sft, run.grpo, "pcc"));
  const clear = gains.filter(({ low }) => low > 0).length;
  const gain = runs.length === 1 ? `The 95 % interval of GRPO's paired gain ${clear === 1 ? "lies above 0" : "holds 0: this run alone does not prove it"}.` : `GRPO's paired gain lies above 0, interval and all, in ${clear} of ${runs.length} seeds.`;
  const order = plain < sft && sft < grpo ? "The order base < SFT < SFT + GRPO holds in PCC" : "The order base < SFT < SFT + GRPO does not hold in PCC in this run";
  return `${order}: ${fixed(plain)}, ${fixed(sft)}, ${fixed(grpo)}${runs.length === 1 ? "" : ` (means of ${runs.length} seeds)`}. ${gain}`;
}

/** Paired differences on the same dramas, by seed, and their means over several seeds. */
function differences({ base, runs, gold }: DemoFacts): Block {
  const pairs: [name: string, of: (run: SeedRun) => [a: StageResult, b: StageResult] | undefined][] = [
    ["SFT − base", ({ sft }) => [base[0]!, sft]],
    ["SFT + GRPO − SFT", ({ sft, grpo }) => [sft, grpo]],
    ["the same, both read by means", ({ sftMean, grpoMean }) => [sftMean, grpoMean]],
    ["SFT + GRPO by means − SFT", ({ sft, grpoMean }) => [sft, grpoMean]],
    ["SFT + GRPO − SFT on JSON", ({ json, grpo }) => json && [json, grpo]],
  ];
  const metrics = ["pcc", "accuracy", "mse"] as const;
  const rows = pairs.flatMap(([name, of]): Cell[][] => {
    const found = runs.flatMap((run) => (of(run) ? [{ seed: run.seed, gains: metrics.map((metric) => stageGain(gold, ...of(run)!, metric)) }] : []));
    const single = found.map(({ seed, gains }): Cell[] => [runs.length === 1 ? name : `${name}, seed ${seed}`, ...gains.map((gain) => withInterval(gain))]);
    const mean = (at: number): string => fixed(meanOf(found.map(({ gains }) => gains[at]!.value)));
    return found.length > 1 ? [...single, [`${name}, mean of ${found.length} seeds`, ...metrics.map((_, at) => mean(at))]] : single;
  });
  return table({ columns: ["difference", { title: "PCC", align: "right" }, { title: "accuracy", align: "right" }, { title: "MSE", align: "right" }], rows, caption: "Paired on the same dramas, with 95 % intervals; a lower MSE is better." });
}

function resultsSection(facts: DemoFacts): Section {
  const { base, runs, gold, isQuick } = facts;
  const isSingle = runs.length === 1;
  const stages = [...base, ...runs.flatMap(stagesOf)];
  return {
    title: "Does training help?",
    lead: `${gold.length} held-out dramas, the five classes in equal numbers, greedy answers where nothing else is said. PCC is the correlation of predicted and true class: 0 knows nothing, 1 knows all.`,
    blocks: [
      ...(isQuick ? [callout({ kind: "warning", title: "This was a quick run", text: "Every stage ran once, on few dramas and for few steps. The figures show that the pipeline works, not how well it learns." })] : []),
      paragraph(verdict(facts)),
      intervalPlot({ rows: stages.map((stage) => ({ label: labelOf(stage, isSingle), value: stage.pcc.value, low: stage.pcc.low, high: stage.pcc.high, n: gold.length, isHighlighted: stage.name === "SFT + GRPO" })), xLabel: "PCC on held-out dramas", reference: { value: 0, label: "chance" }, caption: "95 % intervals, bootstrap over dramas" }),
      table({
        columns: ["stage", { title: "PCC", align: "right" }, { title: "accuracy", align: "right" }, { title: "MSE", align: "right" }, { title: "readable", align: "right" }],
        rows: [...stages.map((stage) => [labelOf(stage, isSingle), withInterval(stage.pcc), withInterval(stage.accuracy), withInterval(stage.mse), percent(stage.readable)]), ["always 3, without looking", "undefined", "0.200", "2.000", ""]],
        caption: "An unreadable answer counts as 3. Intervals are 95 %.",
      }),
      differences(facts),
      callout({
        title: "How to read this",
        text: [
          "The stages are compared under one prompt, the four tags, where all rewards exist. SFT on JSON answers under its own prompt is a strong row of its own: thirty tokens carry the lesson better than a hundred and ten.",
          "Paid for exact classes only, as published, GRPO tends to move greedy answers to the ends of the scale, where a class is easiest to hit, and MSE may suffer. Here a wrong class earns less than half as much, the less the farther it is off; --ablation trains both. The mean of several answers at temperature 1 tells more than one; its accuracy is that of the nearest class.",
        ],
      }),
    ],
  };
}

function trainingSection({ curves, runs }: DemoFacts): Section {
  const series = (records: Record<string, number | null>[], key: string, name: string) => ({ name, points: records.flatMap((record): [number, number][] => (typeof record[key] === "number" ? [[record["step"]!, record[key]]] : [])) });
  const grpo = runs[0]!.grpo;
  const sft = runs[0]!.sft;
  const counts = (stage: StageResult): number[] => [1, 2, 3, 4, 5].map((label) => stage.predictions.filter((value) => value === label).length);
  return {
    title: "Training, step by step",
    lead: "LoRA of rank 16 on all decoder layers; seed 0.",
    blocks: [
      columns([
        lineChart({ size: "half", title: "SFT: loss", series: [series(curves.sft, "loss", "loss per token")], xLabel: "step", yLabel: "nats" }),
        lineChart({ size: "half", title: "GRPO: reward", series: [series(curves.grpo, "reward", "total"), series(curves.grpo, "rewards/accuracy/mean", "accuracy"), series(curves.grpo, "rewards/format/mean", "format")], xLabel: "step", smoothing: 0.6 }),
      ]),
      columns([
        lineChart({ size: "half", title: "GRPO: caption and comments", series: [series(curves.grpo, "rewards/caption/mean", "caption"), series(curves.grpo, "rewards/comments/mean", "comments")], xLabel: "step", smoothing: 0.6 }),
        barChart({ size: "half", title: "Predicted classes", series: ["SFT", "SFT + GRPO"], bars: [1, 2, 3, 4, 5].map((label, i) => ({ label: String(label), value: [counts(sft)[i]!, counts(grpo)[i]!] })) }),
      ]),
    ],
  };
}

function dataSection({ world, data, films, baseWords, plan }: DemoFacts): Section {
  const { report } = world.fit;
  const { sft, cost } = data.report;
  return {
    title: "Where the data comes from",
    lead: `${report.dramas.toLocaleString("en")} synthetic dramas: a hidden quality drives audience figures, what is seen, and what viewers say. Nothing the model sees carries the class.`,
    blocks: [
      columns([
        histogram({ size: "half", title: "Hot values", values: world.fit.labels.map(({ hotValue }) => hotValue), xLabel: "hot value" }),
        barChart({ size: "half", title: "Dramas by class", bars: report.classSizes.map((value, i) => ({ label: String(i + 1), value })) }),
      ]),
      funnelChart({ title: "Curation of the SFT part", steps: sft.map(({ name, count, byClass }) => ({ label: name, count, parts: byClass })), parts: ["class 1", "class 2", "class 3", "class 4", "class 5"], caption: `${cost.spending.calls.toLocaleString("en")} teacher calls over HTTP for both parts, ${cost.spent.toFixed(2)} ${cost.currency ?? ""} at list prices` }),
      keyValues([
        ["SFT samples", `${data.sft.length} of ${plan.perClass.sft * 5} dramas`],
        ["GRPO samples", `${data.grpo.length} of ${plan.perClass.grpo * 5} dramas`],
        ["caption words right, base model", percent(baseWords)],
        ["filmed as mp4 and decoded again", `${films.films} dramas: mean difference ${films.meanDifference.toFixed(2)} grey levels, ${percent(films.equalCaptions)} equal captions, ${percent(films.wordsRight)} words right`],
      ]),
    ],
  };
}

function costSection({ seconds, total, peakMemory, tensorflow }: DemoFacts): Section {
  return {
    title: "What it took",
    blocks: [
      barChart({ title: "Seconds", bars: Object.entries(seconds).map(([label, value]) => ({ label, value })) }),
      keyValues([
        ["in all", `${total.toFixed(0)} s`],
        ["peak memory", `${(peakMemory / 1e9).toFixed(2)} GB`],
        ["TensorFlow", `${tensorflow.version}, ${tensorflow.binding ?? "wasm"}, ${tensorflow.device}`],
      ]),
      bulletList(["All figures on this page were measured in this run.", "The films of the last two assessments: Tears of Steel, (CC) Blender Foundation, mango.blender.org, CC BY 3.0."]),
    ],
  };
}

/** The page that the demo ends with. */
export function demoReport(facts: DemoFacts): string {
  const { ablations, assessed, base, runs, gold } = facts;
  const first = runs[0]!;
  const cards = assessed.map(({ assessment, sheets }, i): Section =>
    assessmentSection(assessment, {
      title: i === 0 ? `A held-out drama of the world: ${assessment.dramaId}` : `A real clip: ${assessment.dramaId}`,
      contactSheets: sheets.map((bytes, k) => ({ bytes, alt: `What the model saw of episode ${k + 1}`, caption: `Episode ${k + 1}: what the model saw, numbers included` })),
    }),
  );
  const [example, ...clips] = cards;
  return renderReport({
    title: "Dramascope demo",
    subtitle: "From audience figures to an assessment, on a synthetic world of short dramas and on real clips",
    sections: [
      {
        title: "In short",
        blocks: [
          keyFigures([
            { label: "PCC before training", value: fixed(base[0]!.pcc.value), interval: [base[0]!.pcc.low, base[0]!.pcc.high], n: gold.length },
            { label: "PCC after SFT", value: fixed(first.sft.pcc.value), interval: [first.sft.pcc.low, first.sft.pcc.high], n: gold.length },
            { label: "PCC after SFT + GRPO", value: fixed(first.grpo.pcc.value), interval: [first.grpo.pcc.low, first.grpo.pcc.high], n: gold.length, tone: "good" },
            { label: "time", value: `${facts.total.toFixed(0)} s` },
          ]),
        ],
      },
      ...(example ? [example] : []),
      resultsSection(facts),
      ...ablationSections(ablations),
      trainingSection(facts),
      dataSection(facts),
      ...clips,
      costSection(facts),
    ],
  });
}
