import { dramaMessages } from "@dramascope/prompts";
import type { Message, Quality, TrainingSample, VideoReference } from "@dramascope/schema";
import type { DramaRecord } from "../ledger/drama-types.ts";
import { episodeFacts } from "../pipeline/request.ts";
import type { LeftOutReason } from "./left-out.ts";
import { provenanceOf } from "./provenance.ts";
import type { ExportSetting, ReplayedDrama } from "./replayed-drama.ts";
import { sftTarget } from "./sft-target.ts";

/** Path of an episode's frame manifest in the records, relative to the folder of the export; undefined for an episode that has none. Episodes count from 1. */
export type ManifestPath = (record: DramaRecord, episode: number) => string | undefined;

/** A training record of a drama, to be made where it is wanted. */
export interface TrainingRecord {
  kind: TrainingSample["kind"];
  quality: Quality;
  make: () => TrainingSample;
}

/** What a drama gives to the training sets. */
export interface DramaRecords {
  /** In the drama's own order; none where it gives none. */
  records: TrainingRecord[];
  /** One reason for each record that could have been, or for the drama. */
  leftOut: LeftOutReason[];
}

const episodeCountOf = ({ drama }: DramaRecord): number => Math.max(1, drama.episodes.length);

function videosOf(record: DramaRecord, manifestPath: ManifestPath | undefined): VideoReference[] {
  const { dramaId } = record;
  return Array.from({ length: episodeCountOf(record) }, (_, i) => {
    const manifest = manifestPath?.(record, i + 1);
    return { dramaId, episode: i + 1, ...(manifest !== undefined && { manifest }) };
  });
}

/** What a model is asked about a drama, as the teacher was. */
function messagesOf(task: "cot" | "grpo", record: DramaRecord, setting: ExportSetting): Message[] {
  const template = setting.templates[task];
  return dramaMessages(template, episodeFacts(record, template), { episodeCount: episodeCountOf(record), mediaPosition: setting.config.mediaPosition });
}

/** Records of an SFT drama, one for each chain of thought that was selected: `sft-ID`, then `sft.2-ID`, `sft.3-ID` … */
function sftRecords(replayed: ReplayedDrama, setting: ExportSetting, manifestPath: ManifestPath | undefined): DramaRecords {
  const { record, selected, caption, comments } = replayed.outcome;
  const { sftFormat } = setting.config.export;
  const options = { sftFormat, answerComments: setting.config.comments.answerComments };
  const task = sftFormat === "json" ? "cot" : "grpo";
  const tasks = sftFormat === "json" ? (["cot", "caption", "cot_filter"] as const) : (["grpo", "cot", "caption", "cot_filter", "comment_filter"] as const);
  const found: DramaRecords = { records: [], leftOut: [] };
  selected.forEach((round, i) => {
    const target = sftTarget({ think: round.think!, quality: record.quality, caption, comments }, options);
    if (!target.ok) found.leftOut.push(target.reason);
    else {
      const sampleId = `${i === 0 ? "sft" : `sft.${i + 1}`}-${record.dramaId}`;
      const make = (): TrainingSample => {
        const sampling = { round: round.round, temperature: round.temperature, topP: setting.config.rounds.topP };
        return { kind: "sft", sampleId, messages: messagesOf(task, record, setting), videos: videosOf(record, manifestPath), target: target.target, provenance: { ...provenanceOf(replayed, setting, tasks, [round]), sampling } };
      };
      found.records.push({ kind: "sft", quality: record.quality, make });
    }
  });
  return found;
}

/** The record that rewards compare with; of an evaluation drama, about which nothing is asked, its class alone. */
function referenceRecord(replayed: ReplayedDrama, setting: ExportSetting, manifestPath: ManifestPath | undefined): DramaRecords {
  const { record, caption, comments } = replayed.outcome;
  const { dramaId, split, quality } = record;
  const flags = [...(caption === null ? ["no-caption"] : []), ...(comments.length === 0 ? ["no-comments"] : [])];
  const tasks = split === "eval" ? (["grpo"] as const) : (["grpo", "caption", "comment_filter"] as const);
  const make = (): TrainingSample => ({
    kind: "grpo", sampleId: `${split}-${dramaId}`, messages: messagesOf("grpo", record, setting), videos: videosOf(record, manifestPath), quality, caption: caption ?? "", comments,
    ...(flags.length > 0 && { flags }), provenance: provenanceOf(replayed, setting, tasks, []),
  });
  return { records: [{ kind: "grpo", quality, make }], leftOut: [] };
}

/** Training records of a drama; what is left out is named, never dropped in silence. */
export function trainingRecords(replayed: ReplayedDrama, setting: ExportSetting, manifestPath?: ManifestPath): DramaRecords {
  const { record, decision } = replayed.outcome;
  if (record.split === "eval") return referenceRecord(replayed, setting, manifestPath);
  if (decision !== "kept") return { records: [], leftOut: [decision] };
  return record.split === "sft" ? sftRecords(replayed, setting, manifestPath) : referenceRecord(replayed, setting, manifestPath);
}
