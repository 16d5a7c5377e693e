import { readdirSync, readFileSync } from "node:fs";
import { builtin, dataBlock, PROMPT_IDS, PROMPT_LANGUAGES, PromptError, type BuiltinOptions, type PromptId, type PromptLanguage, type Template } from "@dramascope/prompts";
import { describe, expect, it } from "vitest";
import { lockFindings, type Lock } from "./lock-findings.ts";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");
const { templates } = JSON.parse(read("../../../test-fixtures/goldens/prompts/prompts.json")) as { templates: Record<PromptId, { version: string; hash: string; example: { variables: Record<string, unknown>; rendered: string } }> };

/** The raw value of a block, as callers give it. */
const unwrap = (value: unknown): unknown => (typeof value === "string" && value.startsWith("data-") ? (JSON.parse(value.split("\n")[1]!) as unknown) : value);

describe("the built-in prompts", () => {
  it.each(PROMPT_IDS)("%s renders its example byte for byte", (id) => {
    const { example, hash, version } = templates[id];
    const template = builtin(id);
    expect([template.hash, template.version]).toEqual([hash, version]);
    expect(template.render(Object.fromEntries(Object.entries(example.variables).map(([name, value]) => [name, unwrap(value)])))).toBe(example.rendered);
  });

  it.each<[string, string, object]>([
    ["a prompt", "plot", {}],
    ["a name of every object", "constructor", {}],
    ["a language", "cot", { language: "de" }],
    ["a variant", "comment_filter", { variant: "other" }],
    ["a keyed form of another prompt", "cot", { variant: "keyed" }],
  ])("do not have %s that nobody wrote", (_what, id, options) => {
    expect(() => builtin(id as PromptId, options as BuiltinOptions)).toThrow(expect.objectContaining({ code: "PROMPT_UNKNOWN" }) as Error);
    expect(() => builtin(id as PromptId, options as BuiltinOptions)).toThrow(PromptError);
  });
});

const VALUES = { episodeCount: 5, language: "中文", numberNote: "红字是秒数。", transcript: "台词", groundTruth: 4, predicted: 4, think: "理由", caption: "剧情", commentsJson: [{ i: 0, text: "好看" }] } as const;
const render = (template: Template): string => template.render(Object.fromEntries(Object.entries(VALUES).filter(([name]) => template.variables.includes(name))));
const variants = PROMPT_LANGUAGES.flatMap((language) => [...PROMPT_IDS.map((id) => ({ id, language, variant: "indexed" as const })), { id: "comment_filter" as const, language, variant: "keyed" as const }]);

describe("every wording", () => {
  /** What an answer must keep, in every language. */
  const FORMS: Record<PromptId, string[]> = {
    caption: [],
    cot: ['{"think": "', '", "answer": 3}'],
    cot_filter: ['{"reason": "', '", "valid": true}'],
    comment_filter: ['"label": 1}'],
    grpo: ["<caption>", "</caption>\n<comments>[", "]</comments>\n<think>", "</think>\n<answer>\\boxed{", "}</answer>"],
  };
  it.each(variants)("$id $language $variant asks for the same form with the same variables", ({ id, language, variant }) => {
    const [template, english] = [builtin(id, { language, variant }), builtin(id, { variant })];
    expect([template.id, template.language, template.output, template.variables]).toEqual([id, language, english.output, english.variables]);
    const text = render(template);
    let at = 0;
    for (const part of FORMS[id]) {
      at = text.indexOf(part, at);
      expect(at, part).toBeGreaterThan(-1);
    }
  });

  it.each(variants)("$id $language $variant says of text from outside that it is data, before the text", ({ id, language, variant }) => {
    const text = render(builtin(id, { language, variant }));
    const blocks = [...text.matchAll(/^(data-[0-9a-f]{16})\n.*\n\1$/gmu)];
    const notice = text.search(language === "en" ? /not instructions/u : /不是指令/u);
    expect(blocks.length).toBe(id === "cot_filter" ? 2 : 1);
    expect(notice).toBeGreaterThan(-1);
    expect(notice).toBeLessThan(blocks[0]!.index);
  });

  it.each(PROMPT_LANGUAGES)("leaves out in %s what there is not", (language) => {
    const text = builtin("cot", { language }).render({ episodeCount: 2, language: "x", numberNote: "", transcript: "" });
    expect(text).not.toMatch(/data-|\{[{%]|\n\n\n/u);
    expect(text).toContain("2");
  });

  it.each(PROMPT_LANGUAGES)("never tells a sampler the class or the comments in %s", (language: PromptLanguage) => {
    for (const id of ["caption", "cot", "grpo"] as const) expect(builtin(id, { language }).variables).toEqual(["episodeCount", "language", "numberNote", "transcript"]);
  });

  it("labels comments by their text in the keyed variant", () => {
    expect(builtin("comment_filter", { variant: "keyed" }).render({ commentsJson: ["666"] })).toContain(`${dataBlock(["666"])}\n`);
    expect(builtin("comment_filter", { variant: "keyed", language: "zh" }).render({ commentsJson: ["666"] })).toContain("原文");
  });
});

describe("prompts.lock.json", () => {
  const lock = JSON.parse(read("../prompts.lock.json")) as Lock;
  const files = new Map(readdirSync(new URL("../templates", import.meta.url)).map((name) => [name, read(`../templates/${name}`)]));
  const cot = files.get("cot.en.md")!;
  const changed = cot.replace("for a living", "for money");

  it("has every prompt file as it is", () => {
    expect(lockFindings(lock, files)).toEqual([]);
    expect(files.size).toBe(12);
  });

  it.each([
    ["a changed text under the old version", changed, "give the changed text a new version"],
    ["a new version that is not entered", changed.replace("1.0.0", "1.1.0"), "enter version 1.1.0 with hash"],
  ])("tells of %s", (_what, text, finding) => {
    expect(lockFindings(lock, new Map([...files, ["cot.en.md", text]]))).toEqual([expect.stringContaining(finding) as string]);
  });

  it("tells of a prompt that is gone, and of one that went back", () => {
    expect(lockFindings(lock, new Map([...files].slice(1)))).toEqual([expect.stringContaining("not among the prompts") as string]);
    const later = { ...lock, "cot.en.md": { ...lock["cot.en.md"], "1.1.0": "0".repeat(64) } };
    expect(lockFindings(later, files)).toEqual(["cot.en.md: version 1.0.0 is older than 1.1.0"]);
  });

  it("takes line ends and blanks at the end for no change", () => {
    const blanks = cot.replaceAll("\n", "  \r\n");
    expect(lockFindings(lock, new Map([...files, ["cot.en.md", `\ufeff${blanks}\n\n`]]))).toEqual([]);
  });
});
