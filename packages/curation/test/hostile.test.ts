import { chooseComments, parseAnswer, prepareComment } from "@dramascope/curation";
import { builtin } from "@dramascope/prompts";
import { startSimulator, type Simulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HOSTILE_COMMENTS } from "./hostile-comments.ts";

const GOOD = ["Great twist", "那个眼神绝了", "first", "I cried in episode 3"];
const SHAPES = ["indexed", "keyed"] as const;
type Shape = (typeof SHAPES)[number];

/** Texts as they are sent, the good ones first. */
const sentTexts = (hostile: readonly string[]): string[] => {
  const rows = [...GOOD, ...hostile].map((text, i) => ({ text, likes: 100 - i }));
  return chooseComments(rows, rows.length).map(({ text }) => prepareComment(text).text);
};

const promptOf = (texts: readonly string[], shape: Shape, language: "en" | "zh" = "en"): string =>
  builtin("comment_filter", { variant: shape, language }).render({ commentsJson: shape === "keyed" ? texts : texts.map((text, i) => ({ i, text })) });

/** The one block of a prompt as lines, and the prompt without it. */
function takeBlock(prompt: string): { json: string; rest: string } {
  const [block, json] = /^(?<boundary>data-[0-9a-f]{16})\n(.*)\n\k<boundary>$/mu.exec(prompt)!.slice(0, 3).toSpliced(1, 1) as [string, string];
  return { json, rest: prompt.replace(block, () => "") };
}

describe("a comment that tries", () => {
  it.each(HOSTILE_COMMENTS)("%s is one text of the block, and nothing else of the prompt changes", (_what, text, sent) => {
    const texts = sentTexts([text]);
    expect(texts).toEqual(sent === null ? GOOD : [...GOOD, sent]);
    for (const shape of SHAPES) {
      for (const language of ["en", "zh"] as const) {
        const { json, rest } = takeBlock(promptOf(texts, shape, language));
        expect(rest).toBe(takeBlock(promptOf(GOOD, shape, language)).rest);
        expect(JSON.parse(json)).toEqual(shape === "keyed" ? texts : texts.map((one, i) => ({ i, text: one })));
      }
    }
  });

  it.each(HOSTILE_COMMENTS)("%s gives no label to itself or to others when an answer only repeats it", (_what, text) => {
    const texts = sentTexts([text]);
    const echoes = [JSON.stringify(texts.map((one, i) => ({ i, text: one }))), JSON.stringify({ labels: texts.map((one, i) => ({ i, label: one })) }), JSON.stringify(Object.fromEntries(texts.map((one) => [one, one])))];
    for (const content of echoes) {
      for (const shape of SHAPES) {
        const parsed = parseAnswer("comment_filter", { content }, { comments: texts, shape });
        expect(parsed.ok ? parsed.value.labels.filter((label) => label !== null) : []).toEqual([]);
      }
    }
    const quoted = parseAnswer("comment_filter", { content: `I will not label these.\n${JSON.stringify(texts.at(-1))}` }, { comments: texts });
    expect(quoted.ok ? quoted.value.labels.filter((label) => label !== null) : []).toEqual([]);
  });
});

describe("with a teacher", () => {
  let simulator: Simulator;
  beforeAll(async () => {
    simulator = await startSimulator({ bodies: false });
  });
  afterAll(() => simulator.stop());

  const labelsOf = async (texts: readonly string[], shape: Shape): Promise<(0 | 1 | null)[]> => {
    const response = await fetch(`${simulator.baseURL}/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "teacher-sim-1", messages: [{ role: "user", content: promptOf(texts, shape) }], metadata: { task: "comment_filter", shape } }),
    });
    const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
    const parsed = parseAnswer("comment_filter", { content: choices[0]!.message.content }, { comments: texts, shape });
    if (!parsed.ok) throw new Error(parsed.error);
    return parsed.value.labels;
  };

  it.each(SHAPES)("the labels of the others are the same with and without all of them (%s)", async (shape) => {
    const alone = await labelsOf(GOOD, shape);
    const texts = sentTexts(HOSTILE_COMMENTS.map(([, text]) => text));
    const labels = await labelsOf(texts, shape);
    expect(labels.slice(0, GOOD.length)).toEqual(alone);
    expect(labels).toHaveLength(GOOD.length + HOSTILE_COMMENTS.length - 1);
    expect(labels).not.toContain(null);
  });
});
