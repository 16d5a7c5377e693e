import { lastEligibleRelease } from "./eligibility.ts";
import { HotValueError } from "./errors.ts";
import { INDICATORS, SCORE_NAMES } from "./indicators.ts";
import type { HotValueModel } from "./model.ts";
import { planFit, type FitOptions, type FitPlan } from "./options.ts";
import type { CohortThresholds } from "./score-row.ts";
import { identifier, literal } from "./session.ts";

/** Options of {@link emitSql}. */
export interface EmitSqlOptions {
  /** Whose SQL; they differ in how ids are ordered by their bytes. */
  dialect: "duckdb" | "postgres";
  /** Table of the twelve columns, `date` and `releasedOn` of type date; dots are part of the name, so give a schema by its own name in a list. */
  table: string | readonly string[];
  /** Marks of the cohorts (one row a cohort and indicator), scores of the rows, or the peak and class of each drama. */
  step: "thresholds" | "score" | "label";
}

const ROW = ["dramaId", "date", "releasedOn"].map(identifier).join(", ");
const double = (value: number): string => `CAST('${value}' AS DOUBLE PRECISION)`;
const day = (date: string): string => `DATE ${literal(date)}`;

/** The rows as numbers, with missing values and completion rates read by the options. */
function rowsSql({ options: { missing, completion }, asOf }: FitPlan, table: string, where: string): string {
  const eight = INDICATORS.map((name) => `${missing === "zero" ? `COALESCE(CAST(${identifier(name)} AS DOUBLE PRECISION), 0)` : `CAST(${identifier(name)} AS DOUBLE PRECISION)`} AS ${identifier(name)}`);
  const given = `CAST(${identifier("completionRate")} AS DOUBLE PRECISION)`;
  const ratio = completion.unit === "percent" ? `${given} / 100` : given;
  const kept = completion.outOfRange === "clamp" ? `GREATEST(0, LEAST(1, ${ratio}))` : ratio;
  return `SELECT CAST("dramaId" AS VARCHAR) AS "dramaId", CAST("date" AS DATE) AS "date", CAST("releasedOn" AS DATE) AS "releasedOn",\n    ${eight.join(",\n    ")},\n    COALESCE(CASE WHEN ${given} IS NULL THEN 0 ELSE ${kept} END, 0) AS "completionRate"\n  FROM ${table}${where === "" ? "" : `\n  WHERE ${where.replaceAll("{asOf}", day(asOf))}`}`;
}

function thresholdsSql(plan: FitPlan, table: string): string {
  const { quantile, rank, rankTies, reference, minAge } = plan.options;
  const cohort = reference.mode === "pooled" ? "'*'" : `CAST("date" AS VARCHAR)`;
  const percentile = quantile === "linear" ? "PERCENTILE_CONT" : "PERCENTILE_DISC";
  const members = reference.population === "eligible" ? ` AND "releasedOn" <= ${day(lastEligibleRelease(plan.asOf, minAge))}` : "";
  const long = INDICATORS.map((name) => `SELECT ${cohort} AS cohort, '${name}' AS indicator, ${identifier(name)} AS x FROM input`).join("\n  UNION ALL ");
  const numbered = `${rankTies === "positional" ? "ROW_NUMBER" : "DENSE_RANK"}() OVER (PARTITION BY cohort, indicator ORDER BY x DESC)`;
  return `WITH input AS (
  ${rowsSql(plan, table, `"date" <= {asOf}${members}`)}
), long AS (
  ${long}
), ranked AS (
  SELECT cohort, indicator, x, ${numbered} AS place FROM long
)
SELECT cohort, indicator, COUNT(*) AS n, MIN(x) AS min, ${percentile}(0.3) WITHIN GROUP (ORDER BY x) AS p30, ${percentile}(0.93) WITHIN GROUP (ORDER BY x) AS p93,
  MAX(CASE WHEN place = ${rank} THEN x END) AS rank10, MAX(x) AS max
FROM ranked GROUP BY cohort, indicator ORDER BY cohort, indicator`;
}

const KEYS = ["min", "p30", "p93", "rank10", "max"] as const;

/** The marks as a table of one row a cohort, with the first day that a cohort serves and the first that it does not. */
function marksSql({ thresholds, options }: HotValueModel, step: "score" | "label"): string {
  const names = INDICATORS.flatMap((name) => KEYS.map((key) => identifier(`${name}_${key}`)));
  const dates = Object.keys(thresholds).sort();
  const isOwnDay = options.onUnknownDate === "error" || (step === "label" && options.reference.mode === "per-date");
  const values = (cohort: CohortThresholds): string[] => INDICATORS.flatMap((name) => KEYS.map((key) => double(cohort[name][key])));
  const rows = dates.map((date, i) => {
    const from = date === "*" ? "CAST(NULL AS DATE)" : day(date);
    const until = date === "*" || (!isOwnDay && i + 1 === dates.length) ? "CAST(NULL AS DATE)" : isOwnDay ? `CAST(${day(date)} + 1 AS DATE)` : day(dates[i + 1]!);
    return `(${[literal(date), from, until, ...values(thresholds[date]!)].join(", ")})`;
  });
  return `SELECT * FROM (VALUES\n    ${rows.join(",\n    ")}\n  ) AS listed (cohort, served_from, served_until, ${names.join(", ")})`;
}

function scoreOf(name: string, belowMin: "clamp" | "extrapolate"): string {
  const [x, a, b, c, d, top] = [identifier(name), ...KEYS.map((key) => identifier(`${name}_${key}`))] as [string, string, string, string, string, string];
  const below = belowMin === "clamp" ? `WHEN ${x} < ${b} AND ${x} < ${a} THEN 5 ` : "";
  return `CASE ${below}WHEN ${x} < ${b} THEN COALESCE(5 + (15 * (${x} - ${a})) / NULLIF(${b} - ${a}, 0), 5) WHEN ${x} < ${c} THEN 20 + (50 * (${x} - ${b})) / NULLIF(${c} - ${b}, 0) WHEN ${c} = ${b} AND ${x} = ${c} THEN 20 WHEN ${d} > ${c} THEN 70 + (30 * (${x} - ${c})) / NULLIF(${d} - ${c}, 0) WHEN ${top} > ${c} THEN 70 + (30 * (${x} - ${c})) / NULLIF(${top} - ${c}, 0) ELSE 70 END`;
}

function scoreSql(plan: FitPlan, model: HotValueModel, table: string, step: "score" | "label"): string {
  const rate = identifier("completionRate");
  const completion = `CASE WHEN ${rate} < ${double(0.3)} THEN 3 + (12 * ${rate}) / ${double(0.3)} WHEN ${rate} > ${double(0.7)} THEN 100 ELSE 15 + (85 * (${rate} - ${double(0.3)})) / (${double(0.7)} - ${double(0.3)}) END`;
  const scores = [...INDICATORS.map((name) => `${scoreOf(name, plan.options.belowMin)} AS ${identifier(`score_${name}`)}`), `${completion} AS ${identifier("score_completionRate")}`];
  const sum = SCORE_NAMES.map((name) => `${double(model.weights[name])} * ${identifier(`score_${name}`)}`).join(" + ");
  const quality = ["1", ...model.clusters.breakpoints.map((value) => `CASE WHEN "hotValue" >= ${double(value)} THEN 1 ELSE 0 END`)].join(" + ");
  const kept = step === "label" ? `, ${SCORE_NAMES.map(identifier).join(", ")}` : "";
  return `WITH input AS (
  ${rowsSql(plan, table, step === "label" ? `"date" <= {asOf}` : "")}
), marks AS (
  ${marksSql(model, step)}
), scored AS (
  SELECT ${ROW}, cohort AS "thresholdsDate"${kept},
    ${scores.join(",\n    ")}
  FROM input JOIN marks ON (served_from IS NULL OR "date" >= served_from) AND (served_until IS NULL OR "date" < served_until)
), valued AS (
  SELECT scored.*, ${sum} AS "hotValue" FROM scored
), classed AS (
  SELECT valued.*, ${quality} AS quality FROM valued
)`;
}

function ageSql(age: { months: number } | { days: number }): string {
  return "months" in age ? `CAST("releasedOn" + INTERVAL '${age.months}' MONTH AS DATE)` : `CAST("releasedOn" + ${age.days} AS DATE)`;
}

function labelSql(plan: FitPlan, model: HotValueModel, table: string): string {
  const { minAge, peakWindow, minEngagement, leftTruncated } = plan.options;
  const window = peakWindow === "all" ? "1 = 1" : peakWindow === "first-two-months" ? `"date" <= ${ageSql({ months: 2 })}` : `"date" > ${ageSql(minAge)}`;
  const eligible = `"releasedOn" <= ${day(lastEligibleRelease(plan.asOf, minAge))}`;
  const conditions = [eligible, ...minEngagement.map(({ atLeast }, i) => `most_${i} >= ${double(atLeast)}`), ...(leftTruncated === "exclude" ? [`first_date <= ${ageSql(minAge)}`] : [])];
  const maxima = minEngagement.map(({ indicator }, i) => `, MAX(${identifier(indicator)}) OVER (PARTITION BY "dramaId") AS most_${i}`).join("");
  const scores = SCORE_NAMES.map((name) => identifier(`score_${name}`)).join(", ");
  return `${scoreSql(plan, model, table, "label")}, counted AS (
  SELECT classed.*, CASE WHEN ${window} THEN 1 ELSE 0 END AS in_window, MIN("date") OVER (PARTITION BY "dramaId") AS first_date, COUNT(*) OVER (PARTITION BY "dramaId") AS snapshots${maxima} FROM classed
), placed AS (
  SELECT counted.*, ROW_NUMBER() OVER (PARTITION BY "dramaId" ORDER BY "hotValue" DESC, "date" ASC) AS place FROM counted WHERE in_window = 1
)
SELECT "dramaId", "releasedOn", ${eligible} AS eligible, "hotValue", "date" AS "peakDate", ${scores},
  CASE WHEN ${conditions.join(" AND ")} THEN quality END AS quality, snapshots AS "rows"
FROM placed WHERE place = 1`;
}

const isModel = (source: HotValueModel | FitOptions): source is HotValueModel => "modelHash" in source;

/**
 * SQL that does a step of the fit in the user's own warehouse: the marks from the settings of a fit or from a model's, scores and labels from a model.
 * Rows must be valid already; identifiers are quoted, every value comes from the model. Marks agree with the fit to 1e-12, scores to 1e-9.
 *
 * @throws HotValueError `OPTIONS_INVALID` when scores or labels are asked for without a model.
 */
export function emitSql(source: HotValueModel | FitOptions, { dialect, table, step }: EmitSqlOptions): string {
  const quoted = (typeof table === "string" ? [table] : table).map(identifier).join(".");
  const plan = isModel(source) ? planOf(source) : planFit(source);
  if (step === "thresholds") return `${thresholdsSql(plan, quoted)}\n`;
  if (!isModel(source)) throw new HotValueError(`the SQL of the step ${step} needs a model`, { code: "OPTIONS_INVALID", hint: "Fit a model first, or ask for the step thresholds." });
  const order = `ORDER BY "dramaId"${dialect === "postgres" ? ` COLLATE "C"` : ""}`;
  if (step === "label") return `${labelSql(plan, source, quoted)}\n${order}\n`;
  const scores = SCORE_NAMES.map((name) => identifier(`score_${name}`)).join(", ");
  return `${scoreSql(plan, source, quoted, "score")}\nSELECT "dramaId", "date", ${scores}, "hotValue", quality, "thresholdsDate" FROM classed\n${order}, "date"\n`;
}

/** The settings of a model's fit. */
function planOf({ weights, asOf, options }: HotValueModel): FitPlan {
  return { weights, asOf, options, frozen: undefined, fitOn: undefined, stability: 0, signal: undefined, onProgress: () => undefined };
}
