import type { CuratedSample, EpisodeFile, RoundVerdict } from "@dramascope/schema";
import type { RoundOutcome } from "../pipeline/outcome.ts";
import { provenanceOf } from "./provenance.ts";
import type { ExportSetting, ReplayedDrama } from "./replayed-drama.ts";

const TASKS = { sft: ["caption", "cot", "cot_filter", "comment_filter"], grpo: ["caption", "comment_filter"], eval: [] } as const;

/** An episode by number, length and content: where its file lies is nobody else's business. */
const withoutPlace = ({ index, durationSeconds, sha256 }: EpisodeFile): EpisodeFile => ({ index, ...(durationSeconds === undefined ? {} : { durationSeconds }), ...(sha256 === undefined ? {} : { sha256 }) });

function verdictOf({ round, verdict, predicted, code, reason, votes, preflags, think }: RoundOutcome, isSelected: boolean): RoundVerdict {
  return { round, verdict, predicted, code: code ?? null, reason: reason ?? null, votes, preflags, think: isSelected ? think : null };
}

/** A drama's line of `samples.jsonl`, accepted or not. */
export function curatedSampleOf(replayed: ReplayedDrama, setting: ExportSetting): CuratedSample {
  const { record, caption, comments, unresolved, rounds, selected, decision } = replayed.outcome;
  const { dramaId, split, quality, drama } = record;
  const flags = [...(caption === null ? ["no-caption"] : []), ...(comments.length === 0 ? ["no-comments"] : []), ...(unresolved > 0 ? ["unresolved-comments"] : [])];
  return {
    sampleId: `${split}-${dramaId}`,
    dramaId,
    split,
    quality,
    episodes: drama.episodes.slice(0, 5).map(withoutPlace),
    caption,
    comments,
    think: selected[0]?.think ?? null,
    decision,
    rounds: rounds.map((round) => verdictOf(round, selected.includes(round))),
    unresolved,
    flags,
    provenance: provenanceOf(replayed, setting, TASKS[split], rounds),
  };
}
