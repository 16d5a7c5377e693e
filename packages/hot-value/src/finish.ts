import { createRequire } from "node:module";
import type { Census } from "./census.ts";
import { clusterHotValues, qualityOf, type ClusterFit } from "./clusters.ts";
import { HotValueError } from "./errors.ts";
import { modelHashOf, type HotValueModel } from "./model.ts";
import type { FitPlan } from "./options.ts";
import { reportOf, type FitFacts, type HotValueReport } from "./report.ts";
import { bootstrapBreakpoints } from "./stability.ts";

/** @throws HotValueError `BREAKPOINTS_DIFFER` when the breakpoints would not give every value the class that the clustering gave it. */
function checkBreakpoints(values: Float64Array, { breakpoints, sizes, engine, k }: ClusterFit): void {
  const counted = new Array<number>(k).fill(0);
  for (const value of values) counted[qualityOf(value, breakpoints) - 1]!++;
  if (sizes.length === k && counted.every((count, i) => count === sizes[i])) return;
  throw new HotValueError(`the breakpoints give classes of ${counted.join(", ")} dramas, the clustering ${sizes.join(", ")}`, {
    code: "BREAKPOINTS_DIFFER",
    hint: engine === "ml-kmeans" ? "Use the engine ckmeans, or another seed." : "The hot values are closer to each other than rounding can part: use other weights or another transform.",
  });
}

/** Cuts the hot values of a census into classes and makes model and report. */
export function finishFit(plan: FitPlan, thresholds: HotValueModel["thresholds"], census: Census, facts: FitFacts): { model: HotValueModel; report: HotValueReport } {
  const { engine, seed, transform, initialization, reference } = plan.options;
  const clusters = clusterHotValues(census.fitted.values(), { engine, seed, transform, initialization });
  checkBreakpoints(census.fitted.values(), clusters);
  const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
  const model: HotValueModel = {
    format: "dramascope.hot-value.model",
    version: 1,
    createdBy: `@dramascope/hot-value ${version}`,
    asOf: plan.asOf,
    weights: plan.weights,
    options: plan.options,
    reference: reference.mode === "frozen" ? { mode: "frozen", modelHash: plan.frozen!.modelHash } : { mode: reference.mode },
    thresholds,
    clusters: { ...clusters, k: 5 },
    population: { rows: census.counts.rows, dramas: census.counts.dramas, eligible: census.counts.eligible, idsHash: census.idsHash() },
    modelHash: "",
  };
  model.modelHash = modelHashOf(model);
  const { stability: rounds, signal, onProgress } = plan;
  const stability = rounds === 0 ? null : bootstrapBreakpoints(census.fitted.values(), clusters.breakpoints, { rounds, seed, transform, signal, onProgress });
  return { model, report: reportOf(model, census, facts, stability) };
}
