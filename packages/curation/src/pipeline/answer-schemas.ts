import type { PromptId } from "@dramascope/prompts";

const object = (properties: Record<string, object>): object => ({ type: "object", properties, required: Object.keys(properties), additionalProperties: false });

const COT = { name: "assessment", schema: object({ think: { type: "string" }, answer: { type: "integer", minimum: 1, maximum: 5 } }) };
const FILTER = { name: "verdict", schema: object({ reason: { type: "string" }, valid: { type: "boolean" } }) };
const LABELS = { name: "labels", schema: object({ labels: { type: "array", items: object({ i: { type: "integer", minimum: 0 }, label: { type: "integer", enum: [0, 1] } }) } }) };

/** JSON schema of a task's answer, for providers that keep to one; none for plain text and for labels by the comment's text, whose keys are not known. */
export function answerSchema(task: PromptId, shape: "indexed" | "keyed"): { name: string; schema: object } | undefined {
  if (task === "cot") return COT;
  if (task === "cot_filter") return FILTER;
  return task === "comment_filter" && shape === "indexed" ? LABELS : undefined;
}
