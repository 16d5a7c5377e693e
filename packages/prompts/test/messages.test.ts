import { builtin, dramaMessages, episodeVariables, numberNote, parseTemplate, PromptError } from "@dramascope/prompts";
import { describe, expect, it } from "vitest";
import { ownTemplate } from "./own-template.ts";

const simple = parseTemplate(ownTemplate("Judge {{ name }}."));
const request = { type: "text", text: "Judge it." };

describe("a drama's message", () => {
  it("shows the episodes in order, before the request or after it", () => {
    const before = dramaMessages(simple, { name: "it" }, { episodeCount: 2 });
    expect(before).toEqual([{ role: "user", content: [{ type: "text", text: "Episode 1:" }, { type: "video", video: 0 }, { type: "text", text: "Episode 2:" }, { type: "video", video: 1 }, request] }]);
    const after = dramaMessages(simple, { name: "it" }, { episodeCount: 1, mediaPosition: "after", episodeLabel: (k) => `#${k}` });
    expect(after[0]!.content).toEqual([request, { type: "text", text: "#1" }, { type: "video", video: 0 }]);
  });

  it("names the episodes in the template's language", () => {
    const chinese = parseTemplate(ownTemplate("{{ name }}", { language: "zh-CN" }));
    expect(dramaMessages(chinese, { name: "评" }, { episodeCount: 1 })[0]!.content[0]).toEqual({ type: "text", text: "第 1 集：" });
  });

  it.each([0, -1, 1.5, Number.NaN])("cannot show %s episodes", (episodeCount) => {
    expect(() => dramaMessages(simple, { name: 1 }, { episodeCount })).toThrow(PromptError);
  });
});

describe("values about episodes", () => {
  it("are those that the template asks for, in its language", () => {
    expect(episodeVariables(builtin("cot"), { episodeCount: 2 })).toEqual({ episodeCount: 2, language: "English", numberNote: numberNote("continuous"), transcript: "" });
    expect(episodeVariables(builtin("cot", { language: "zh" }), { episodeCount: 2, clock: "episode", transcript: "x" })).toEqual({ episodeCount: 2, language: "中文", numberNote: numberNote("episode", "zh"), transcript: "x" });
    expect(episodeVariables(simple, { episodeCount: 2 })).toEqual({});
  });

  it("say nothing of numbers where there are none, and keep the language of the answer that is wanted", () => {
    expect(episodeVariables(builtin("cot"), { episodeCount: 1, clock: "none", language: "Chinese" })).toMatchObject({ numberNote: "", language: "Chinese" });
  });
});
