import type { RawAnswer } from "./load-answer.ts";
import { readCot, type ParsedCot } from "./read-cot.ts";
import { readFilter, type FilterAnswer } from "./read-filter.ts";
import { readLabels, type LabelsAnswer } from "./read-labels.ts";
import type { Parsed } from "./refusal.ts";

export type { RawAnswer } from "./load-answer.ts";
export { readCot, type CotAnswer, type ParsedCot } from "./read-cot.ts";
export { readFilter, type FilterAnswer } from "./read-filter.ts";
export { readLabels, type LabelsAnswer } from "./read-labels.ts";
export type { AnswerCode, Parsed } from "./refusal.ts";

/** The comments that an answer labels. */
export interface LabelledComments {
  /** Texts as they were sent. */
  comments: readonly string[];
  /** Form of the answer. Default `indexed`. */
  shape?: "indexed" | "keyed";
}

/** Reads an answer of a sampling round: `{"think", "answer"}`. */
export function parseAnswer(task: "cot", raw: RawAnswer): ParsedCot;
/** Reads a verdict: `{"reason", "valid"}`. */
export function parseAnswer(task: "cot_filter", raw: RawAnswer): Parsed<FilterAnswer>;
/** Reads labels of comments: `{"labels": [{"i", "label"}]}`, or an object by the comments' texts. */
export function parseAnswer(task: "comment_filter", raw: RawAnswer, about: LabelledComments): Parsed<LabelsAnswer>;
/** Reads an answer by its task. Never throws, whatever the answer: a value, or the reason why there is none. */
export function parseAnswer(task: "cot" | "cot_filter" | "comment_filter", raw: RawAnswer, about: LabelledComments = { comments: [] }): Parsed<unknown> {
  if (task === "cot") return readCot(raw);
  return task === "cot_filter" ? readFilter(raw) : readLabels(raw, about.comments, about.shape);
}
