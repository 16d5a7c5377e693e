import { rm } from "node:fs/promises";
import { join } from "node:path";
import { sha256, sha256File, writeFileAtomically, writeFolderAtomically } from "@dramascope/schema";
import type { CurationConfig } from "../config.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import { templateName } from "../pipeline/setting.ts";
import { createRecordCheck } from "./check-records.ts";
import { curatedSampleOf } from "./curated-sample.ts";
import { finishReport } from "./curation-report.ts";
import { datasetCard } from "./dataset-card.ts";
import { CARD, checkTarget, isSameExport, manifestText, type ExportManifest } from "./manifest.ts";
import { openExport } from "./open-export.ts";
import { writeParquet } from "./parquet.ts";
import { planExport, type ExportPlan, type PlannedDrama } from "./plan-export.ts";
import { createRecordFile, type RecordFile } from "./record-file.ts";
import type { ExportSetting } from "./replayed-drama.ts";
import { createReportTally } from "./report-tally.ts";
import { createSplitFile } from "./split-file.ts";
import type { ManifestPath } from "./training-records.ts";

/** Options of {@link exportSets}. */
export interface ExportOptions {
  /** Path of an episode's frame manifest, relative to the folder of the export, for training. Default: records name drama and episode alone. */
  manifestPath?: ManifestPath;
  /** Default `export.formats` of the settings. */
  formats?: readonly ("jsonl" | "parquet")[];
}

const SETS = ["samples", "sft", "grpo", "eval"] as const;
type SetName = (typeof SETS)[number];
type SetFiles = Record<SetName, RecordFile>;

/** The bytes are there already. */
class Unchanged extends Error {
  readonly manifest: ExportManifest;

  constructor(manifest: ExportManifest) {
    super("unchanged");
    this.manifest = manifest;
  }
}

/** Writes every record of a plan to its file, after a look at it. */
async function writeRecords(plan: ExportPlan, setting: ExportSetting, files: SetFiles, visit: (planned: PlannedDrama) => void): Promise<void> {
  const check = createRecordCheck(setting.config.export);
  for await (const planned of plan.dramas()) {
    const { replayed, found } = planned;
    const { record, decision } = replayed.outcome;
    check.drama(record);
    visit(planned);
    if (record.split !== "eval" && decision !== "pending") {
      const sample = curatedSampleOf(replayed, setting);
      check.curated(sample);
      await files.samples.write(sample);
    }
    for (const { quality, make } of found.records) {
      const sample = make();
      check.training(sample, quality);
      await files[record.split].write(sample);
    }
  }
}

/** Writes the JSONL files of all sets. */
async function writeSets(folder: string, plan: ExportPlan, setting: ExportSetting, visit: (planned: PlannedDrama) => void): Promise<Record<SetName, { count: number; sha256: string }>> {
  const opened = await Promise.all(SETS.map(async (set) => [set, await createRecordFile(join(folder, `${set}.jsonl`))] as const));
  const files = Object.fromEntries(opened) as SetFiles;
  try {
    await writeRecords(plan, setting, files, visit);
    return { samples: await files.samples.close(), sft: await files.sft.close(), grpo: await files.grpo.close(), eval: await files.eval.close() };
  } finally {
    await Promise.all(SETS.map((set) => files[set].abandon()));
  }
}

async function writeFolder(ledger: StepLedger, folder: string, { setting, plan, formats }: { setting: ExportSetting; plan: ExportPlan; formats: readonly string[] }): Promise<ExportManifest> {
  const { config, templates, runId, generation } = setting;
  const before = await ledger.counts(generation);
  const [tally, splits] = [createReportTally({ examples: 0 }), createSplitFile()];
  const written = await writeSets(folder, plan, setting, (planned) => {
    tally.add(planned);
    splits.add(planned.replayed.outcome.record);
  });
  const report = await finishReport(ledger, setting, plan, tally.finish(), before);
  const hashes: Record<string, string> = {};
  for (const set of SETS) {
    const lines = join(folder, `${set}.jsonl`);
    if (formats.includes("parquet")) {
      await writeParquet(set, lines, join(folder, `${set}.parquet`));
      hashes[`${set}.parquet`] = await sha256File(join(folder, `${set}.parquet`));
    }
    if (formats.includes("jsonl")) hashes[`${set}.jsonl`] = written[set].sha256;
    else await rm(lines);
  }
  const manifest: ExportManifest = {
    format: "dramascope.curation-export",
    version: 1,
    runId,
    generation,
    templates: Object.values(templates).map(templateName),
    counts: Object.fromEntries(SETS.map((set) => [set, written[set].count])),
    sha256: hashes,
    split: splits.hash(),
    leftOut: report.leftOut,
    balance: { mode: config.balance, before: plan.before, after: plan.after },
  };
  const texts = { "splits.json": splits.text(), [CARD]: datasetCard(report, manifest, config) };
  for (const [name, text] of Object.entries(texts)) {
    await writeFileAtomically(join(folder, name), text);
    hashes[name] = sha256(text);
  }
  await writeFileAtomically(join(folder, "manifest.json"), manifestText(manifest));
  return manifest;
}

/**
 * Writes the sets of a ledger: `samples.jsonl`, `sft.jsonl`, `grpo.jsonl`, `eval.jsonl`, `splits.json`, a dataset card and `manifest.json`, and Parquet files where they are wanted.
 * The folder is whole or absent, and its bytes depend on the ledger's answers and the settings alone: not on time, not on how often a run was killed. An export of the same
 * generation is replaced when its bytes differ.
 *
 * @returns What `manifest.json` says.
 * @throws CurationError `EXPORT_EXISTS` for a folder that holds anything else, `EXPORT_EDITED` for a card that somebody wrote into, `GENERATION_UNKNOWN`, `GENERATION_OLD`, `EXPORT_CHECK` for a record that must not be written, `EXPORT_CHANGED`, `REPORT_MISMATCH`,
 *   `PARQUET_UNAVAILABLE`. Nothing has been touched then.
 */
export async function exportSets(ledger: StepLedger, config: CurationConfig, dir: string, { manifestPath, formats = config.export.formats }: ExportOptions = {}): Promise<ExportManifest> {
  const { setting, source } = await openExport(ledger, config);
  await checkTarget(dir, setting);
  const plan = await planExport(source, setting, manifestPath);
  try {
    return await writeFolderAtomically(dir, async (folder) => {
      const manifest = await writeFolder(ledger, folder, { setting, plan, formats });
      if (await isSameExport(dir, manifest)) throw new Unchanged(manifest);
      return manifest;
    });
  } catch (error) {
    if (error instanceof Unchanged) return error.manifest;
    throw error;
  }
}
