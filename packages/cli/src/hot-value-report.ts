import { INDICATORS, type HotValueModel, type HotValueReport } from "@dramascope/hot-value";
import { bulletList, callout, columns, formatNumber, histogram, keyFigures, keyValues, paragraph, renderReport, table, type Section } from "@dramascope/report";

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function classesSection({ classSizes, sseShare, breakpoints, histogram: hotValues, fitted }: HotValueReport): Section {
  return {
    title: "Classes",
    lead: "Hot values of all dramas, cut where one-dimensional K-means on the fitted dramas cuts them.",
    blocks: [
      table({
        columns: ["Class", { title: "From", digits: 3 }, { title: "Dramas", digits: 0 }, { title: "Share", align: "right" }, { title: "Share of the squared error", align: "right" }],
        rows: classSizes.map((size, i) => [String(i + 1), i === 0 ? null : breakpoints[i - 1]!, size, percent(size / fitted), percent(sseShare[i]!)]),
        caption: `${formatNumber(fitted)} dramas took part in the clustering`,
      }),
      histogram({ values: hotValues, xLabel: "hot value", marks: breakpoints.map((value, k) => ({ value, label: `class ${k + 2}` })), caption: "Hot values of all dramas; each line is where a class begins" }),
    ],
  };
}

function marksSection({ thresholds, indicators, weights }: HotValueReport): Section {
  const cohorts = Object.entries(thresholds).slice(-12);
  return {
    title: "Marks of the indicators",
    lead: "A value at the minimum scores 5, at p30 20, at p93 70, at the tenth rank 100.",
    blocks: [
      table({ columns: ["Indicator", { title: "Weight", digits: 3 }, "Zeros"], rows: [...INDICATORS.map((name) => [name, weights[name], percent(indicators.zeroShare[name])]), ["completionRate", weights.completionRate, null]] }),
      ...cohorts.map(([date, marks]) =>
        table({
          columns: ["Indicator", "n", "min", "p30", "p93", "rank", "max"],
          rows: INDICATORS.map((name) => [name, marks[name].n, marks[name].min, marks[name].p30, marks[name].p93, marks[name].rank10, marks[name].max]),
          caption: date === "*" ? "All dates" : date,
        }),
      ),
      ...(Object.keys(thresholds).length > cohorts.length ? [paragraph(`The last ${cohorts.length} of ${Object.keys(thresholds).length} dates; the model file holds them all.`)] : []),
    ],
  };
}

/** A fit as one page. */
export function hotValueReportHtml(report: HotValueReport, model: HotValueModel): string {
  const { stability } = report;
  const counts: [string, string | number][] = [
    ["Rows refused", report.rejected.count],
    ...Object.entries(report.rejected.reasons).map(([reason, count]): [string, number] => [`– ${reason}`, count]),
    ["Rows after the day of the fit", report.afterAsOf],
    ["Rows that repeat a drama's date", report.duplicates],
    ["Dramas first seen when already old", report.leftTruncated.count],
    ["Dramas below the least engagement", report.belowEngagement],
    ["Dramas without a snapshot in the peak window", report.withoutPeak],
    ["Cohorts", report.cohortSizes.count],
    ["Rows of a cohort (least, median, most)", `${report.cohortSizes.min}, ${report.cohortSizes.median}, ${report.cohortSizes.max}`],
    ["Dates left out", report.droppedCohorts.length],
    ["Scores by the fallback rule", report.fallbackUses.length],
  ];
  const options = Object.entries(report.nonDefaultOptions);
  return renderReport({
    title: "Hot value",
    subtitle: `Fitted on ${formatNumber(report.rows)} rows of ${formatNumber(report.dramas)} dramas as of ${model.asOf}`,
    sections: [
      {
        title: "In short",
        blocks: [
          keyFigures([
            { label: "Rows", value: report.rows },
            { label: "Dramas", value: report.dramas },
            { label: "Old enough for a class", value: report.eligible },
            { label: "Fitted", value: report.fitted },
          ]),
          callout({ kind: "note", text: "Hot value is popularity after exposure, not merit: exposure, promotion and release date are in it." }),
          ...(report.warnings.length === 0 ? [] : [callout({ kind: "warning", title: "Warnings", text: report.warnings.map(({ code, message }) => `${code}: ${message}`) })]),
        ],
      },
      classesSection(report),
      ...(stability === null ? [] : [{
        title: "How firm the classes are",
        lead: `${stability.rounds} bootstrap rounds over dramas; ${percent(stability.sameClass)} of the dramas keep their class on average.`,
        blocks: [table({ columns: ["Break", { title: "Fit", digits: 3 }, { title: "2.5 %", digits: 3 }, { title: "Median", digits: 3 }, { title: "97.5 %", digits: 3 }], rows: stability.breakpoints.map(({ low, median, high }, i) => [`${i + 1} | ${i + 2}`, report.breakpoints[i]!, low, median, high]) })],
      }]),
      marksSection(report),
      {
        title: "Counts and settings",
        blocks: [
          columns([keyValues(counts)]),
          options.length === 0 ? paragraph("Every setting has its default.") : bulletList(options.map(([name, value]) => `${name}: ${JSON.stringify(value)}`)),
        ],
      },
    ],
    footer: `${model.createdBy} · model ${model.modelHash}`,
  });
}
