import { evaluate, pairedBootstrap, readPredictions, readTruth, type EvaluationReport } from "@dramascope/evaluation";
import { callout, confusionMatrix, intervalPlot, keyFigures, renderReport, table } from "@dramascope/report";
import { writeFileAtomically } from "@dramascope/schema";
import type { Command } from "commander";
import { defineCommand, usageError, type CliIo, type SetExitCode } from "../context.ts";

const show = (value: number | null, digits = 4): string => (value === null ? "undefined" : value.toFixed(digits));

function reportHtml(report: EvaluationReport): string {
  const { metrics, intervals, coverage, baselines } = report;
  const row = (name: string, metric: "accuracy" | "mse" | "pcc"): { label: string; value: number; low: number; high: number } => ({ label: name, value: metrics[metric] ?? 0, low: intervals[metric].low ?? 0, high: intervals[metric].high ?? 0 });
  return renderReport({
    title: "Evaluation",
    subtitle: `${coverage.answered} of ${coverage.n} dramas answered`,
    sections: [
      {
        title: "The three figures",
        blocks: [
          keyFigures([
            { label: "Accuracy", value: show(metrics.accuracy, 3), n: coverage.n },
            { label: "MSE", value: show(metrics.mse, 3), n: coverage.answered },
            { label: "PCC", value: show(metrics.pcc, 3), n: coverage.answered },
            { label: "Coverage", value: show(coverage.coverage, 3), n: coverage.n },
          ]),
          intervalPlot({ rows: [row("PCC", "pcc"), row("Accuracy", "accuracy")], caption: "95 % intervals, bootstrap over dramas" }),
          table({
            columns: ["", { title: "Accuracy", align: "right" }, { title: "MSE", align: "right" }],
            rows: [
              ["these predictions", show(metrics.accuracy, 3), show(metrics.mse, 3)],
              ["always 3", show(baselines.always3.accuracy, 3), show(baselines.always3.mse, 3)],
              [`always ${baselines.majority.label} (commonest)`, show(baselines.majority.accuracy, 3), show(baselines.majority.mse, 3)],
              ["random", show(baselines.random.accuracy, 3), show(baselines.random.mse, 3)],
              ["best straight-line recalibration", "", show(report.recalibratedMse, 3)],
            ],
            caption: "What answering without looking would score",
          }),
        ],
      },
      { title: "Where the answers go", blocks: [confusionMatrix({ labels: ["1", "2", "3", "4", "5"], counts: metrics.confusion, rowTitle: "true class", columnTitle: "predicted class" }), ...report.warnings.map((text) => callout({ kind: "warning", text }))] },
    ],
  });
}

/** `dramascope evaluate` */
export function addEvaluate(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<{ truth: string; predictions: string; compat?: string; compare?: string; out?: string; report?: string }>(program, io, setExitCode, {
    name: "evaluate",
    summary: "accuracy, MSE, PCC and what they hide",
    example: "dramascope evaluate --truth labels.jsonl --predictions assessments.jsonl --report evaluation.html",
    configure: (command) =>
      command
        .requiredOption("--truth <file>", "true classes: JSON object of ids, or JSONL with dramaId and quality")
        .requiredOption("--predictions <file>", "predictions: JSON object of ids, or JSONL of assessments")
        .option("--compat <mode>", "authors: also the three figures of the released script")
        .option("--compare <file>", "another system's predictions: paired differences")
        .option("--out <file>", "the whole result as JSON")
        .option("--report <file>", "the result as a page"),
    run: async ({ seed }, options) => {
      if (options.compat !== undefined && options.compat !== "authors") throw usageError(`--compat ${options.compat} is unknown`, "Use --compat authors.");
      const truth = await readTruth(options.truth);
      const predictions = await readPredictions(options.predictions);
      const report = evaluate(truth, predictions, { seed: seed ?? 0, ...(options.compat === "authors" ? { compat: "authors" as const } : {}) });
      const json: Record<string, unknown> = { ...report };
      const { metrics, intervals, coverage } = report;
      const lines = [
        `answered   ${coverage.answered} of ${coverage.n}`,
        ...(["accuracy", "mse", "pcc"] as const).map((name) => `${name.padEnd(10)} ${show(metrics[name])}  [${show(intervals[name].low)}, ${show(intervals[name].high)}]`),
        `always 3   accuracy ${show(report.baselines.always3.accuracy)}, mse ${show(report.baselines.always3.mse)}`,
      ];
      if (report.compat) lines.push(`authors    accuracy ${report.compat.accuracy}, mse ${report.compat.mse}, pcc ${report.compat.pcc} (n = ${report.compat.n})`);
      if (options.compare !== undefined) {
        const other = await readPredictions(options.compare);
        const ids = [...truth.keys()].filter((id) => typeof predictions.get(id) === "number" && typeof other.get(id) === "number");
        const input = { gold: ids.map((id) => truth.get(id)!), a: ids.map((id) => predictions.get(id)!), b: ids.map((id) => other.get(id)!) };
        const differences = Object.fromEntries((["accuracy", "mse", "pcc"] as const).map((metric) => [metric, pairedBootstrap(input, { metric, seed: seed ?? 0 })]));
        json["compare"] = { n: ids.length, differences };
        for (const [metric, { difference, low, high }] of Object.entries(differences)) lines.push(`${options.compare} − ${options.predictions}: ${metric} ${show(difference)} [${show(low)}, ${show(high)}] (n = ${ids.length})`);
      }
      if (options.out !== undefined) await writeFileAtomically(options.out, `${JSON.stringify(json, null, 2)}\n`);
      if (options.report !== undefined) await writeFileAtomically(options.report, reportHtml(report));
      return { json, text: `${[...lines, ...report.warnings.map((text) => `warning: ${text}`)].join("\n")}\n` };
    },
  });
}
