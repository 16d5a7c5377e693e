import { parseAnswer, type Parsed } from "@dramascope/curation";

/** One case of `answers.json`. */
export interface AnswerCase {
  id: string;
  task: "cot" | "cot_filter" | "comment_filter";
  raw: string | null;
  finish?: string;
  refusal?: string;
  comments?: string[];
  shape?: "indexed" | "keyed";
  expect: { ok: object; flags: string[] } | { error: string };
}

/** Reads a case, or other content in its place. */
export function parseCase({ task, raw, finish, refusal, comments = [], shape }: AnswerCase, content = raw): Parsed<unknown> {
  const message = { content, ...(finish === undefined ? {} : { finish }), ...(refusal === undefined ? {} : { refusal }) };
  if (task === "cot") return parseAnswer("cot", message);
  return task === "cot_filter" ? parseAnswer("cot_filter", message) : parseAnswer("comment_filter", message, { comments, ...(shape === undefined ? {} : { shape }) });
}
