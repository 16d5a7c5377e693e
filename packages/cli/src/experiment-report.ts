import type { ExperimentReport, ItemSlice, MetricComparison, TreatmentComparison, Verdict } from "@dramascope/evaluation";
import { callout, details, formatNumber, heading, intervalPlot, keyFigures, keyValues, renderReport, table, type Block, type Section } from "@dramascope/report";

const TONES: Record<Verdict, "good" | "note" | "warning"> = { ship: "good", "no-effect": "note", underpowered: "note", harm: "warning", blocked: "warning" };

const MEANINGS: Record<Verdict, string> = {
  ship: "Ship: the treatment is better.",
  "no-effect": "No effect: an effect worth having would probably have been seen.",
  underpowered: "Underpowered: the data cannot tell.",
  harm: "Harm: the treatment makes something worse.",
  blocked: "Blocked: the data cannot be trusted, so no lift is shown.",
};

/** A relative change with its sign, for example `+1.204 %`; null is a dash. */
export function percent(share: number | null | undefined, digits = 3): string {
  if (share === null || share === undefined) return "–";
  return `${share > 0 ? "+" : share < 0 ? "−" : ""}${Math.abs(100 * share).toFixed(digits)} %`;
}

/** A size without sign, for example `1.204 %`; null is a dash. */
export const size = (share: number | null): string => (share === null ? "–" : `${(100 * share).toFixed(3)} %`);

const pValue = (p: number | null | undefined): string => (p === null || p === undefined ? "–" : p < 0.0001 ? p.toExponential(1).replace("-", "−") : p.toFixed(4));
/** A change as a cell: it does not break before its unit. */
const change = (share: number | null | undefined): string => percent(share).replace(" ", "\u00a0");
const interval = (low: number | null | undefined, high: number | null | undefined): string => (low === null || low === undefined ? "–" : `[${change(low)}, ${change(high)}]`);
const inPercent = (share: number | null | undefined): number | null => (share === null || share === undefined ? null : 100 * share);

function fieller({ relative }: MetricComparison): string {
  const set = relative?.fieller;
  if (!set) return "";
  if (set.shape === "everything") return "Fieller: excludes nothing";
  return set.shape === "interval" ? `Fieller: ${interval(set.low, set.high)}` : `Fieller: up to ${percent(set.low)}, or from ${percent(set.high)}`;
}

function guardrail({ guardrail: test }: MetricComparison): string {
  if (!test) return "";
  const bound = test.worst > 0 ? `at most ${size(test.worst)} worse` : `at least ${size(-test.worst)} better`;
  return `${bound}, limit ${size(test.limit)}${test.isWorse ? "; significantly worse" : test.reachesLimit ? "; reaches it" : ""}`;
}

function lifts({ treatment, metrics }: TreatmentComparison, report: ExperimentReport): Section {
  const { control, alpha, sequential } = report.plan;
  const level = `${100 * (1 - alpha)} %`;
  return {
    title: `${treatment} against ${control}`,
    blocks: [
      intervalPlot({
        rows: metrics.map(({ metric, role, evidence, control: a, treatment: b }) => ({
          label: `${metric} (${role})`,
          value: inPercent(evidence?.estimate),
          low: inPercent(evidence?.low),
          high: inPercent(evidence?.high),
          ...(a && b ? { n: a.n + b.n } : {}),
          isHighlighted: role === "primary",
        })),
        reference: { value: 0, label: "no change" },
        xLabel: `relative change in %, ${sequential ? `${level} interval that holds at every look` : `${level} interval`}`,
      }),
      table({
        columns: ["Metric", { title: "Control", align: "right", digits: 5 }, { title: "Treatment", align: "right", digits: 5 }, { title: "Change", align: "right" }, { title: "Interval", align: "right" }, { title: "p", align: "right" }, { title: "p, Holm", align: "right" }, { title: "Detectable", align: "right" }, "Remark"],
        rows: metrics.map((own) => [
          `${own.metric} (${own.role})`,
          own.control?.mean ?? null,
          own.treatment?.mean ?? null,
          change(own.evidence?.estimate),
          own.holm ? interval(own.holm.low, own.holm.high) : interval(own.evidence?.low, own.evidence?.high),
          pValue(own.evidence?.p),
          pValue(own.holm?.p),
          size(own.minimumDetectableEffect),
          [guardrail(own), fieller(own), own.undefined ?? ""].filter((text) => text !== "").join("; "),
        ]),
        caption: `Users are the unit. Intervals of primary metrics stand at their level in Holm's sequence. Detectable: found in 80 of 100 experiments like this.`,
      }),
      ...adjustment(metrics),
    ],
  };
}

/** What the pre-period has taken out of the variance. */
function adjustment(metrics: readonly MetricComparison[]): Block[] {
  const adjusted = metrics.flatMap(({ metric, cuped, relative }) => (cuped ? [[metric, cuped.theta, cuped.varianceRatio, `${(100 * cuped.coverage).toFixed(1)} %`, change(relative?.estimate), change(cuped.relative.estimate)]] : []));
  if (adjusted.length === 0) return [];
  return [
    heading("Pre-period taken out (CUPED)"),
    table({
      columns: ["Metric", { title: "θ", align: "right", digits: 4 }, { title: "Variance ratio", align: "right", digits: 3 }, { title: "Users with a pre-period", align: "right" }, { title: "Change before", align: "right" }, { title: "Change after", align: "right" }],
      rows: adjusted,
      caption: "The figures after are the ones that decide.",
    }),
  ];
}

function slices(all: readonly ItemSlice[]): Section[] {
  if (all.length === 0) return [];
  const columns = [...new Set(all.map(({ column }) => column))];
  return [
    {
      title: "By groups of dramas",
      lead: "Dramas are the unit here: the variance is clustered by drama. Exploratory, without correction for the number of groups.",
      blocks: columns.map((column) => {
        const own = all.filter((slice) => slice.column === column);
        return table({
          columns: [column, "Treatment", "Metric", { title: "Dramas", align: "right" }, { title: "Change", align: "right" }, { title: "Interval", align: "right" }, { title: "p", align: "right" }, "Remark"],
          rows: own.map((slice) => [slice.value === null ? "none" : String(slice.value), slice.treatment, slice.metric, slice.dramas, change(slice.estimate), interval(slice.low, slice.high), pValue(slice.p), slice.undefined ?? (slice.warning ? "fewer than 30 dramas" : "")]),
        });
      }),
    },
  ];
}

/** The experiment as one page: verdict and reasons first; no lift when it is blocked. */
export function experimentHtml(report: ExperimentReport): string {
  const { verdict, reasons, users, srm, crossovers, plan, warnings } = report;
  const total = users.reduce((sum, arm) => sum + arm.users, 0);
  const first: Section = {
    title: "Verdict",
    blocks: [
      callout({ kind: TONES[verdict], title: MEANINGS[verdict], text: reasons }),
      keyFigures([
        { label: "Users", value: total },
        { label: "Sample ratio, p", value: pValue(srm?.p), tone: srm?.isMismatch ? "bad" : "plain", note: srm?.isMismatch ? "below .001: assignment or logging is broken" : "fits the planned shares" },
        { label: "Users in two variants", value: crossovers, note: "removed from both" },
      ]),
      ...(report.comparisons.length > 1 ? [table({ columns: ["Treatment", "Verdict", "Because"], rows: report.comparisons.map((own) => [own.treatment, own.verdict, own.reasons.join("; ")]) })] : []),
      ...(warnings.length > 0 ? [callout({ text: warnings })] : []),
    ],
  };
  const arms = table({
    columns: ["Variant", { title: "Users", align: "right" }, { title: "Share", align: "right" }, { title: "Planned", align: "right" }],
    rows: users.map((arm) => [arm.variant === plan.control ? `${arm.variant} (control)` : arm.variant, arm.users, `${(100 * arm.share).toFixed(2)} %`, `${(100 * arm.plannedShare).toFixed(2)} %`]),
  });
  const planned = keyValues([
    ["Mode", plan.mode === "aa" ? "A/A: no effect is expected" : "A/B"],
    ["Alpha", plan.alpha],
    ["Smallest effect worth finding", size(plan.minimumEffect)],
    ["Looks", plan.sequential ? `any number; narrowest at ${plan.sequential.nStar} users` : "one"],
    ["Metrics", plan.metrics.map(({ name, role, direction }) => `${name} (${role}, good is ${direction})`).join("; ")],
  ]);
  return renderReport({
    title: "Experiment",
    subtitle: `${plan.variants.map(({ name }) => name).join(" / ")}, ${formatNumber(total)} users`,
    sections: [first, ...report.comparisons.map((comparison) => lifts(comparison, report)), ...slices(report.slices), { title: "Users and plan", blocks: [arms, details("The plan", [planned])] }],
  });
}
