import { z } from "zod";
import type { OnProgress } from "@dramascope/schema";
import { HotValueError } from "./errors.ts";
import { SCORE_NAMES, validateWeights, type Weights } from "./indicators.ts";
import type { HotValueModel } from "./model.ts";

const count = z.int().min(1);

/** Settings of a fit as a model keeps them, each with its value; what each means stands at {@link FitOptions}. */
export const resolvedOptions = z.strictObject({
  reference: z.strictObject({ mode: z.enum(["per-date", "pooled", "frozen"]), population: z.enum(["all", "eligible"]), minCohort: z.int().min(0) }),
  quantile: z.enum(["linear", "inverted-cdf"]),
  rank: count,
  rankTies: z.enum(["positional", "distinct"]),
  onSmallCohort: z.enum(["error", "drop", "allow"]),
  degenerate: z.enum(["error", "fallback"]),
  belowMin: z.enum(["clamp", "extrapolate"]),
  missing: z.enum(["reject", "zero"]),
  completion: z.strictObject({ unit: z.enum(["ratio", "percent"]), outOfRange: z.enum(["reject", "clamp"]), null: z.enum(["as-zero", "reject"]) }),
  minAge: z.union([z.strictObject({ months: z.int().min(0) }), z.strictObject({ days: z.int().min(0) })]),
  peakWindow: z.enum(["all", "first-two-months", "after-min-age"]),
  transform: z.union([z.enum(["none", "log1p"]), z.strictObject({ winsorize: z.number().gt(0).lt(0.5) })]),
  engine: z.enum(["ckmeans", "ml-kmeans"]),
  seed: z.int().min(0),
  initialization: z.literal("kmeans++"),
  minEngagement: z.array(z.strictObject({ indicator: z.enum(SCORE_NAMES), atLeast: z.number() })),
  leftTruncated: z.enum(["keep", "exclude"]),
  fitOn: z.enum(["all", "subset"]),
  duplicates: z.enum(["error", "first", "last"]),
  maxRejectedShare: z.number().min(0).max(1),
  onUnknownDate: z.enum(["latest-before", "error"]),
});
/** Settings of a fit as a model keeps them. */
export type ResolvedOptions = z.infer<typeof resolvedOptions>;

/** Which rows a row is compared with. */
export interface ReferenceOptions {
  /** The rows of its date, all rows, or the cohorts of an earlier model. Default `per-date`. */
  mode?: "per-date" | "pooled" | "frozen";
  /** Whether rows of dramas that are too young for a label belong to a cohort. Default `all`. */
  population?: "all" | "eligible";
  /** Smallest cohort, in rows. Default 200. */
  minCohort?: number;
  /** The earlier model; needed with `frozen`, and only there. */
  model?: HotValueModel;
}

/** How a completion rate is read. */
export interface CompletionOptions {
  /** A ratio 0 … 1, or percent 0 … 100. Default `ratio`. */
  unit?: "ratio" | "percent";
  /** A rate outside is refused, or taken as the nearest end. Default `reject`. */
  outOfRange?: "reject" | "clamp";
  /** An unknown rate counts as 0, or is refused. Default `as-zero`. */
  null?: "as-zero" | "reject";
}

/** How a model is fitted. Weights and the day have no default. */
export interface FitOptions {
  /** Nine shares that sum to 1. */
  weights: Weights;
  /** Day up to which snapshots count and on which ages are taken, `YYYY-MM-DD`. */
  asOf: string;
  /** Which rows a row is compared with. Default the rows of its date. */
  reference?: ReferenceOptions;
  /** Quantile between two values: by linear interpolation, or the lower observed value. Default `linear`. */
  quantile?: "linear" | "inverted-cdf";
  /** Rank from the top whose value scores 100. Default 10. */
  rank?: number;
  /** Equal values count for the rank each by itself, or once. Default `positional`. */
  rankTies?: "positional" | "distinct";
  /** A cohort smaller than `reference.minCohort` is an error, is left out and reported, or is used all the same. Default `error`. */
  onSmallCohort?: "error" | "drop" | "allow";
  /** Cohorts whose marks coincide: refused, or scored by the nearest rule that stays finite and monotone, and counted. Default `error`. */
  degenerate?: "error" | "fallback";
  /** A value below the fitted minimum scores 5, or goes on along the line. Default `clamp`. */
  belowMin?: "clamp" | "extrapolate";
  /** A missing count or duration refuses the row, or is 0. Default `reject`. */
  missing?: "reject" | "zero";
  /** How a completion rate is read. Default a ratio, refused outside 0 … 1, 0 when unknown. */
  completion?: CompletionOptions;
  /** Age from which a drama has a label: its release date plus the age lies strictly before `asOf`. Default two months. */
  minAge?: { months: number } | { days: number };
  /** Snapshots among which the maximum is sought: all, those up to two months after release, or those after `minAge`. Default `all`. */
  peakWindow?: "all" | "first-two-months" | "after-min-age";
  /** Scale of the clustering: the hot value, log(1 + value), or the value cut at the share `winsorize` (below .5) from either end. Default `none`. */
  transform?: "none" | "log1p" | { winsorize: number };
  /** `ckmeans` finds the global optimum; `ml-kmeans` is Lloyd's method from a seeded start. Default `ckmeans`. */
  engine?: "ckmeans" | "ml-kmeans";
  /** Seed of `ml-kmeans`. Default 0. */
  seed?: number;
  /** Start of `ml-kmeans`. Default `kmeans++`. */
  initialization?: "kmeans++";
  /** A drama has a label only when its largest value of each named indicator reaches the bound. Default none. */
  minEngagement?: readonly { indicator: keyof Weights; atLeast: number }[];
  /** Dramas first seen when older than `minAge`, whose peak may lie before: labelled and counted, or left without a label. Default `keep`. */
  leftTruncated?: "keep" | "exclude";
  /** Restricts the clustering, for a fit that leaves evaluation dramas out. Default all eligible dramas. */
  fitOn?: (dramaId: string) => boolean;
  /** Two rows of one drama and date: an error, or the first or the last counts. Default `error`. */
  duplicates?: "error" | "first" | "last";
  /** Share of refused rows above which the whole input is refused, 0 … 1. Default 0.01. */
  maxRejectedShare?: number;
  /** What the model does with a date it has no cohort for: the latest before it, or an error. Default `latest-before`. */
  onUnknownDate?: "latest-before" | "error";
  /** Bootstrap rounds over dramas that say how firm the classes are. Default 0. */
  stability?: number;
  /** Stops the work between two steps. Default none. */
  signal?: AbortSignal;
  /** Receives the rows or dramas done. Default none. */
  onProgress?: OnProgress;
}

/** Every default, in the form that a model keeps. */
export const DEFAULTS: ResolvedOptions = {
  reference: { mode: "per-date", population: "all", minCohort: 200 },
  quantile: "linear",
  rank: 10,
  rankTies: "positional",
  onSmallCohort: "error",
  degenerate: "error",
  belowMin: "clamp",
  missing: "reject",
  completion: { unit: "ratio", outOfRange: "reject", null: "as-zero" },
  minAge: { months: 2 },
  peakWindow: "all",
  transform: "none",
  engine: "ckmeans",
  seed: 0,
  initialization: "kmeans++",
  minEngagement: [],
  leftTruncated: "keep",
  fitOn: "all",
  duplicates: "error",
  maxRejectedShare: 0.01,
  onUnknownDate: "latest-before",
};

/** A fit's settings, checked, each with its value. */
export interface FitPlan {
  weights: Weights;
  asOf: string;
  options: ResolvedOptions;
  /** The model whose cohorts are used, with `reference.mode` `frozen`. */
  frozen: HotValueModel | undefined;
  fitOn: ((dramaId: string) => boolean) | undefined;
  stability: number;
  signal: AbortSignal | undefined;
  onProgress: OnProgress;
}

/**
 * Checks settings and fills in the defaults.
 *
 * @throws HotValueError `OPTIONS_INVALID` naming the field, and those of {@link validateWeights}.
 */
export function planFit({ weights, asOf, fitOn, stability = 0, signal, onProgress = () => undefined, ...given }: FitOptions): FitPlan {
  const refuse = (message: string): never => {
    throw new HotValueError(`the options of the fit: ${message}`, { code: "OPTIONS_INVALID", hint: "See the documentation of FitOptions." });
  };
  const { model: frozen, ...reference } = given.reference ?? {};
  const parsed = resolvedOptions.safeParse({
    ...DEFAULTS,
    ...given,
    reference: { ...DEFAULTS.reference, ...reference },
    completion: { ...DEFAULTS.completion, ...given.completion },
    fitOn: fitOn === undefined ? "all" : "subset",
  });
  if (!parsed.success) return refuse(parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; "));
  if ((parsed.data.reference.mode === "frozen") !== (frozen !== undefined)) return refuse("reference.mode frozen and reference.model belong together");
  if (!z.iso.date().safeParse(asOf).success) return refuse(`asOf ${JSON.stringify(asOf)} is not a day YYYY-MM-DD`);
  if (!Number.isSafeInteger(stability) || stability < 0) return refuse(`stability ${String(stability)} is not a number of rounds`);
  return { weights: validateWeights(weights), asOf, options: parsed.data, frozen, fitOn, stability, signal, onProgress };
}
