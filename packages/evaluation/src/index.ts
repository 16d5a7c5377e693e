export { createRandom } from "@dramascope/schema";
export { computeCoverage, type Coverage } from "./coverage.ts";
export { EvaluationError } from "./errors.ts";
export { baselines, evaluate, type Baselines, type EvaluateOptions, type EvaluationReport } from "./evaluate.ts";
export { readPredictions, readTruth } from "./files.ts";
export { computeMetrics, type ClassMetrics, type Metrics } from "./metrics.ts";
export {
  bootstrapCi, holm, mcnemar, pairedBootstrap, permutationTest,
  type BootstrapOptions, type Interval, type Intervals, type McNemar, type PairedDifference, type PairedInput, type PermutationOptions, type PermutationResult, type TrioMetric,
} from "./resampling.ts";
export { conformalQuantile, scoreFromLogprobs, type ScoreDistribution } from "./scores.ts";
