import { hashJson } from "@dramascope/schema";
import type { CurationConfig } from "../config.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import { checkReport, type StepCounts } from "./check-report.ts";
import { sumOf } from "./class-balance.ts";
import { openExport } from "./open-export.ts";
import { planExport, type ExportPlan } from "./plan-export.ts";
import type { ExportSetting } from "./replayed-drama.ts";
import { createReportTally, type ReportOptions, type ReportTally } from "./report-tally.ts";
import type { CurationReport } from "./report-types.ts";

const share = (cost: number, records: number): number | null => (records === 0 ? null : cost / records);

/** A report from what was counted and the ledger's own sums, after {@link checkReport}. `before` are the ledger's counts from before it was read. */
export async function finishReport(ledger: StepLedger, setting: ExportSetting, plan: ExportPlan, tally: ReportTally, before: StepCounts): Promise<CurationReport> {
  const { config, runId, generation } = setting;
  const isMoving = hashJson(before) !== hashJson(await ledger.counts(generation));
  checkReport(tally, isMoving ? tally.steps : before, plan.after);
  const spending = await ledger.spending();
  const { sftCost, sftRecords, openRounds: _openRounds, ...counted } = tally;
  const byClass = ([1, 2, 3, 4, 5] as const).map((quality) => {
    const [cost, records] = [sftCost[quality - 1]!, sftRecords[quality - 1]!];
    return { quality, cost, records, perRecord: share(cost, records) };
  });
  return {
    format: "dramascope.curation-report",
    version: 1,
    runId,
    generation,
    model: config.teacher.model,
    isMoving,
    ...counted,
    balance: { mode: config.balance, before: [...plan.before], after: [...plan.after] },
    cost: {
      currency: config.teacher.prices?.currency ?? null,
      spent: spending.settled + spending.unknown + spending.inFlight,
      spending,
      retries: Object.values(spending.byKind).reduce((sum, { retries }) => sum + retries, 0),
      perSftRecord: share(byClass.reduce((sum, { cost }) => sum + cost, 0), sumOf(sftRecords)),
      byClass,
    },
  };
}

/**
 * What a curation has come to so far: how far dramas of each class came, what the teacher said and where it was wrong, refusals, unusable answers and money. It is computed from
 * the ledger's answers alone, also in the middle of a run, and its sums are compared with the ledger's own.
 *
 * @throws CurationError `GENERATION_UNKNOWN` when the ledger holds no answers under these settings, `GENERATION_OLD` when it has a newer generation, `REPORT_MISMATCH` when sums differ.
 */
export async function curationReport(ledger: StepLedger, config: CurationConfig, options: ReportOptions = {}): Promise<CurationReport> {
  const { setting, source } = await openExport(ledger, config);
  const before = await ledger.counts(setting.generation);
  const plan = await planExport(source, setting);
  const tally = createReportTally(options);
  for await (const planned of plan.dramas()) tally.add(planned);
  return finishReport(ledger, setting, plan, tally.finish(), before);
}
