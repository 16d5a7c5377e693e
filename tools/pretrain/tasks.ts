/** What the base model learns to answer: five requests about dramas whose looks say nothing about their quality. */
import { readFileSync } from "node:fs";
import { parseTemplate } from "@dramascope/prompts";
import type { Random } from "@dramascope/schema";
import { captionOf, HOSTILE, jsonAnswer, NOISE, referenceComments, tagAnswer, thinkOf } from "@dramascope/test-fixtures/world/language.ts";
import type { Trait, WorldDrama } from "@dramascope/test-fixtures/world/traits.ts";

/** Names of the requests; `tags` and `json` are asked in pre-training only. */
export const TASKS = ["caption", "cot", "grpo", "tags", "json"] as const;
export type Task = (typeof TASKS)[number];

const COMMENTS = 3;

/** Where a request's text stands: beside this file where only pre-training asks it, else with the prompts of the demo. */
const folderOf = (task: Task): string => (task === "tags" || task === "json" ? "prompts" : "../../test-fixtures/world/prompts");

/** Text of a request. */
export const requestOf = (task: Task): string => parseTemplate(readFileSync(new URL(`${folderOf(task)}/${task}.md`, import.meta.url), "utf8")).render({}).trim();

/** How the class in an answer comes about: by chance alone, or from the lists above it; both know nothing of the drama's quality. */
export type Verdict = "random" | "consistent";

/** One answer to a request. Which side a trait stands on is a coin toss. */
export function answerOf(task: Task, drama: WorldDrama, verdict: Verdict, random: Random): string {
  if (task === "caption") return captionOf(drama);
  const sides = new Map<Trait, boolean>();
  const toss = (trait: Trait): boolean => {
    if (!sides.has(trait)) sides.set(trait, random.uniform() < 0.5);
    return sides.get(trait)!;
  };
  thinkOf(drama, toss, 3);
  const balance = [...sides.values()].reduce((sum, isStrength) => sum + (isStrength ? 1 : -1), 0);
  const quality = verdict === "random" ? 1 + random.below(5) : Math.min(5, Math.max(1, Math.round(3 + 0.65 * balance + 0.5 * random.normal())));
  const think = thinkOf(drama, toss, quality);
  if (task === "cot") return jsonAnswer(think, quality);
  if (task === "tags") return `<think>${think}</think>\n<answer>\\boxed{${quality}}</answer>`;
  const caption = captionOf(drama);
  const comments = referenceComments(drama).slice(0, COMMENTS);
  if (task === "grpo") return tagAnswer({ caption, comments, think, quality });
  return `{"caption": ${JSON.stringify(caption)}, "comments": [${comments.map((comment) => JSON.stringify(comment)).join(", ")}], "think": ${JSON.stringify(think)}, "answer": ${quality}}`;
}

/** The texts that the tokenizer is learnt from. */
export function* corpusOf(dramas: readonly WorldDrama[], random: Random): Generator<string> {
  for (const drama of dramas.slice(0, 1500)) for (const task of ["cot", "grpo"] as const) yield answerOf(task, drama, "random", random);
  const frame = ["system\nYou are a helpful assistant.", "user\n", "assistant\n", ...[1, 2, 3, 4, 5].map((episode) => `Episode ${episode}:`)];
  for (let i = 0; i < 20; i++) yield* [...frame, ...TASKS.map(requestOf), ...NOISE, ...HOSTILE];
}
