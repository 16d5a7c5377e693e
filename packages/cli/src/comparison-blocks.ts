import type { ComparisonTable } from "@dramascope/evaluation";
import { formatNumber, intervalPlot, table, type Block, type Cell } from "@dramascope/report";
import { intervalText, rightColumns } from "./figure-columns.ts";

const TRIO = [["accuracy", "Accuracy"], ["mse", "MSE"], ["pcc", "PCC"]] as const;
const chance = (p: number | null): string => (p !== null && p < 0.001 ? "< 0.001" : formatNumber(p, 3));

/** Systems on the same items as a reader sees them: their figures, each difference to the baseline with its tests, and a plot of the differences in PCC. */
export function comparisonBlocks({ rows, baseline, n }: ComparisonTable, what: string): Block[] {
  const others = rows.flatMap(({ name, against }) => (against ? [{ name, against }] : []));
  const tests = others.flatMap(({ name, against }) =>
    TRIO.map(([metric, label]): Cell[] => {
      const { difference, low, high, p, pHolm, n: items, verdict } = against[metric];
      return [name, label, difference, intervalText(low, high), chance(p), chance(pHolm), items, verdict?.replace("-", " ") ?? "undefined"];
    }));
  const plot = others.map(({ name, against: { pcc } }) => ({ label: name, value: pcc.difference, low: pcc.low, high: pcc.high, n: pcc.n }));
  const hasMissing = rows.some(({ answered }) => answered < n);
  return [
    table({ columns: [what, ...rightColumns("Accuracy", "MSE", "PCC", ...(hasMissing ? ["answered"] : []), "n")], rows: rows.map(({ name, accuracy, mse, pcc, answered }): Cell[] => [name, accuracy, mse, pcc, ...(hasMissing ? [answered] : []), n]), highlight: [rows.findIndex(({ name }) => name === baseline)] }),
    table({ columns: [what, "", ...rightColumns("Difference", "95 %", "p", "p, Holm", "n"), ""], rows: tests, caption: `Minus ${baseline}. Paired bootstrap; p by McNemar for accuracy, by permutation for MSE and PCC` }),
    intervalPlot({ title: "Difference in PCC", rows: plot, reference: { value: 0, label: "none" } }),
  ];
}
