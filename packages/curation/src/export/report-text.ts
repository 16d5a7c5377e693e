import { STAGE_KINDS, STEP_STATES } from "../ledger/step-types.ts";
import { sumOf } from "./class-balance.ts";
import { LEFT_OUT_REASONS, type LeftOutReason } from "./left-out.ts";
import type { CurationReport, FunnelStage } from "./report-types.ts";
import { alignedTable, type TextCell } from "./text-table.ts";

const CLASSES = ["1", "2", "3", "4", "5"];
const amount = (value: number | null): string => (value === null ? "–" : value.toFixed(4));
const whole = (value: number): string => value.toLocaleString("en");
const percent = (part: number, whole: number): string => (whole === 0 ? "–" : `${((100 * part) / whole).toFixed(1)} %`);
const funnel = (name: string, stages: readonly FunnelStage[]): string => alignedTable([name, "all", ...CLASSES], stages.map((stage): TextCell[] => [stage.name, stage.count, ...stage.byClass]));

/** A report as aligned tables in plain text, for a terminal; without examples. */
export function curationReportText(report: CurationReport): string {
  const { comments, rounds, confusion, blocked, unusable, steps, cost, leftOut, balance, isMoving } = report;
  const currency = cost.currency === null ? "" : ` ${cost.currency}`;
  const reasons = Object.entries(leftOut).map(([reason, n]): TextCell[] => [LEFT_OUT_REASONS[reason as LeftOutReason], n]);
  const parts = [
    `run ${report.runId}, generation ${report.generation}, teacher ${alignedTable([report.model], [])}${isMoving ? "\nthe ledger changed while it was read: figures are of no single moment" : ""}`,
    funnel("SFT dramas", report.sft),
    funnel("GRPO dramas", report.grpo),
    alignedTable(["comments", "chosen", "kept", "dropped", "unresolved", "waiting"], [["", comments.chosen, comments.kept, comments.dropped, comments.unresolved, comments.waiting]]),
    rounds.length > 0 && alignedTable(["round", "n", "readable", "rule 1", "valid", "valid of n"], rounds.map((one): TextCell[] => [one.round, one.n, one.readable, one.agreed, one.valid, percent(one.valid, one.n)])),
    confusion.allRounds.some((row) => sumOf(row) > 0) && alignedTable(["class \\ teacher, all rounds", ...CLASSES, "n"], confusion.allRounds.map((row, i): TextCell[] => [CLASSES[i]!, ...row, sumOf(row)])),
    unusable.length > 0 && alignedTable(["of no use", "step", "number"], unusable.map(({ code, kind, n }): TextCell[] => [code, kind, n])),
    blocked.length > 0 && alignedTable(["refused", "step", "genre", "number"], blocked.map(({ code, kind, genre, n }): TextCell[] => [code, kind, genre ?? "(none)", n])),
    reasons.length > 0 && alignedTable(["left out", "number"], reasons),
    balance.mode !== "none" && alignedTable(["SFT records", ...CLASSES], [["before", ...balance.before], ["after", ...balance.after]]),
    alignedTable(["steps", ...STEP_STATES], STAGE_KINDS.map((kind): TextCell[] => [kind, ...STEP_STATES.map((state) => steps[kind][state])])),
    `spent ${amount(cost.spent)}${currency}, of it unknown ${amount(cost.spending.unknown)}; ${cost.spending.calls} attempts, ${cost.retries} of them retries; ${whole(cost.spending.promptTokens)} tokens in, ${whole(cost.spending.completionTokens)} out; for each SFT record ${amount(cost.perSftRecord)}`,
  ];
  return `${parts.filter((part) => part !== false).join("\n\n")}\n`;
}
