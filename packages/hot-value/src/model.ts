import { hashJson, parseRecord } from "@dramascope/schema";
import { z } from "zod";
import { HotValueError } from "./errors.ts";
import { INDICATORS, SCORE_NAMES, validateWeights } from "./indicators.ts";
import { resolvedOptions } from "./options.ts";
import { degeneracyOf } from "./score-indicator.ts";

const finite = z.number();
const hash = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const thresholds = z
  .strictObject({ n: z.int().min(1), min: finite.min(0), p30: finite, p93: finite, rank10: finite, max: finite })
  .refine(({ min, p30, p93, rank10, max }) => min <= p30 && p30 <= p93 && p93 <= max && min <= rank10 && rank10 <= max, "min, p30, p93 and max must ascend, rank10 lie between");

/** The frozen result of a fit, as it stands in its file. */
export const hotValueModel = z.strictObject({
  format: z.literal("dramascope.hot-value.model"),
  version: z.literal(1),
  /** Package and version that fitted it; not part of the hash. */
  createdBy: z.string(),
  /** Day of the fit. */
  asOf: z.iso.date(),
  /** Nine shares that sum to 1. */
  weights: z.strictObject(Object.fromEntries(SCORE_NAMES.map((name) => [name, finite])) as Record<(typeof SCORE_NAMES)[number], typeof finite>),
  /** Every setting of the fit. */
  options: resolvedOptions,
  /** How rows find their cohort; a frozen reference names the model whose cohorts these are. */
  reference: z.union([z.strictObject({ mode: z.enum(["per-date", "pooled"]) }), z.strictObject({ mode: z.literal("frozen"), modelHash: hash })]),
  /** Marks by date, or under `*` when pooled. */
  thresholds: z.record(z.union([z.iso.date(), z.literal("*")]), z.strictObject(Object.fromEntries(INDICATORS.map((name) => [name, thresholds])) as Record<(typeof INDICATORS)[number], typeof thresholds>)),
  /** Classes, lowest first. */
  clusters: z.strictObject({
    engine: z.enum(["ckmeans", "ml-kmeans"]),
    k: z.literal(5),
    transform: resolvedOptions.shape.transform,
    centroids: z.array(finite).length(5),
    breakpoints: z.array(finite).length(4),
    sizes: z.array(z.int().min(1)).length(5),
    sse: finite.min(0),
    sseShare: z.array(finite.min(0)).length(5),
  }),
  /** What it was fitted on. */
  population: z.strictObject({ rows: z.int().min(1), dramas: z.int().min(1), eligible: z.int().min(0), idsHash: hash }),
  /** SHA-256 over the canonical form of everything else but `createdBy`. */
  modelHash: hash,
});
/** The frozen result of a fit. */
export type HotValueModel = z.infer<typeof hotValueModel>;

/** Hash of everything in a model but its own hash and its maker. */
export function modelHashOf({ modelHash: _hash, createdBy: _by, ...body }: HotValueModel): string {
  return `sha256:${hashJson(body)}`;
}

/** A model's file, numbers in shortest form: it scores bit-identically after reading. */
export function serializeModel(model: HotValueModel): string {
  return `${JSON.stringify(model, null, 2)}\n`;
}

const nearly = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b));

/** What contradicts itself in a model of the right form. */
function problemOf({ options, reference, thresholds: cohorts, clusters, population }: HotValueModel): string | undefined {
  const { centroids, breakpoints, sizes, sse, sseShare } = clusters;
  const keys = Object.keys(cohorts);
  if (keys.length === 0) return "it has no cohort";
  if (keys.includes("*") && keys.length > 1) return "it has a pooled cohort and cohorts by date";
  if (reference.mode !== options.reference.mode) return "its reference mode is given twice, differently";
  if (reference.mode !== "frozen" && (reference.mode === "pooled") !== keys.includes("*")) return `its cohorts do not fit the mode ${reference.mode}`;
  for (const [key, cohort] of Object.entries(cohorts)) {
    for (const name of INDICATORS) {
      const problem = degeneracyOf(cohort[name]);
      if (problem !== null && options.degenerate === "error") return `${name} of ${key}: ${problem}`;
    }
  }
  if (breakpoints.some((value, i) => i > 0 && value < breakpoints[i - 1]!) || centroids.some((value, i) => i > 0 && value <= centroids[i - 1]!)) return "its centroids or breakpoints do not ascend";
  const back = clusters.transform === "log1p" ? Math.expm1 : (value: number): number => value;
  if (breakpoints.some((value, i) => !nearly(value, back((centroids[i]! + centroids[i + 1]!) / 2)))) return "a breakpoint is not the mean of its centroids";
  if (sse > 0 && !nearly(sseShare.reduce((a, b) => a + b, 0), 1)) return "the shares of the squared error do not sum to 1";
  if (sizes.reduce((a, b) => a + b, 0) > population.eligible || population.eligible > population.dramas || population.dramas > population.rows) return "its counts contradict each other";
  if (clusters.engine !== options.engine || JSON.stringify(clusters.transform) !== JSON.stringify(options.transform)) return "its clusters do not fit its options";
  return undefined;
}

/**
 * Reads a model and checks everything in it, its hash included.
 *
 * @throws DataError for a wrong form, HotValueError `MODEL_INVALID` when it contradicts itself, `MODEL_HASH` when the content is not what was hashed, and those of {@link validateWeights}.
 */
export function parseModel(json: unknown): HotValueModel {
  const model = parseRecord(hotValueModel, json, "the hot-value model");
  validateWeights(model.weights);
  const problem = problemOf(model);
  if (problem !== undefined) throw new HotValueError(`the hot-value model cannot be right: ${problem}`, { code: "MODEL_INVALID", hint: "Fit the model again." });
  if (modelHashOf(model) !== model.modelHash) {
    throw new HotValueError("the model's content does not fit its hash: it was edited or damaged", { code: "MODEL_HASH", hint: "Use the file that fit wrote." });
  }
  return model;
}
