import { CurationError } from "../errors.ts";
import { classCap, classWeight, noneOfAnyClass, type ByClass } from "./class-balance.ts";
import type { LeftOutReason } from "./left-out.ts";
import type { ExportSetting, ReplayedDrama } from "./replayed-drama.ts";
import { trainingRecords, type DramaRecords, type ManifestPath, type TrainingRecord } from "./training-records.ts";

/** Replayed dramas in the order of the export; asked for once a pass. */
export type ReplayedDramas = () => AsyncIterable<ReplayedDrama> | Iterable<ReplayedDrama>;

/** A drama with the training records that it gives in the end. */
export interface PlannedDrama {
  replayed: ReplayedDrama;
  found: DramaRecords;
}

/** What an export will hold. */
export interface ExportPlan {
  /** SFT records of each class before balancing; complete when `dramas` has ended. */
  before: ByClass;
  /** The same after it. */
  after: ByClass;
  dramas(): AsyncGenerator<PlannedDrama>;
}

const countSft = (records: readonly TrainingRecord[], counts: ByClass): void => {
  for (const { kind, quality } of records) if (kind === "sft") counts[quality - 1]!++;
};

/**
 * Decides about every record of an export, in one pass, or two where classes are balanced: then counts come first. Which records of a class a cap leaves out is by the order of
 * the dramas, which is that of a hash.
 *
 * @throws CurationError `EXPORT_CHANGED` when the ledger changed between the passes.
 */
export async function planExport(source: ReplayedDramas, setting: ExportSetting, manifestPath?: ManifestPath): Promise<ExportPlan> {
  const { balance, export: { capFactor } } = setting.config;
  const expected = noneOfAnyClass();
  if (balance !== "none") for await (const replayed of source()) countSft(trainingRecords(replayed, setting).records, expected);
  const cap = balance === "cap" ? classCap(expected, capFactor) : Infinity;
  const [before, after] = [noneOfAnyClass(), noneOfAnyClass()];

  const balanced = ({ records, leftOut }: DramaRecords): DramaRecords => {
    countSft(records, before);
    const kept = records.flatMap((record): TrainingRecord[] => {
      const { kind, quality, make } = record;
      if (kind !== "sft") return [record];
      if (after[quality - 1]! >= cap) return [];
      after[quality - 1]!++;
      return balance === "weight" ? [{ ...record, make: () => ({ ...make(), weight: classWeight(expected, quality) }) }] : [record];
    });
    return { records: kept, leftOut: [...leftOut, ...Array.from({ length: records.length - kept.length }, (): LeftOutReason => "over-class-cap")] };
  };

  return {
    before,
    after,
    dramas: async function* () {
      for await (const replayed of source()) yield { replayed, found: balanced(trainingRecords(replayed, setting, manifestPath)) };
      if (balance !== "none" && before.some((count, i) => count !== expected[i])) {
        throw new CurationError("the ledger changed while it was read", { code: "EXPORT_CHANGED", hint: "Export again when no run is going on." });
      }
    },
  };
}
