import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { builtin, loadTemplates, PROMPT_IDS } from "@dramascope/prompts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ownTemplate } from "./own-template.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prompts-"));
});
afterEach(() => rm(dir, { recursive: true }));

const write = (name: string, text: string): Promise<void> => writeFile(join(dir, name), text);
const cot = (body: string, language = "en"): string => ownTemplate(`${body} {{ episodeCount }}`, { id: "cot", language, variables: "[episodeCount]", output: "json" });
const labels = (body: string): string => ownTemplate(`${body} {{ commentsJson }}`, { id: "comment_filter", variables: "[commentsJson]", output: "json" });

describe("without a folder", () => {
  it("are the built-in ones, in the language and form that is wanted", async () => {
    const [english, keyed] = [await loadTemplates(), await loadTemplates({ language: "zh", variant: "keyed" })];
    for (const id of PROMPT_IDS) expect(english[id].hash).toBe(builtin(id).hash);
    expect(keyed.comment_filter.hash).toBe(builtin("comment_filter", { language: "zh", variant: "keyed" }).hash);
    expect(keyed.cot.hash).toBe(builtin("cot", { language: "zh" }).hash);
  });
});

describe("a folder of own prompts", () => {
  it("replaces what it has and nothing else; its README and hidden files are nobody's prompts", async () => {
    await write("cot.md", cot("Judge"));
    await write("README.md", "# Prompts");
    await write(".directory", "");
    const prompts = await loadTemplates({ dir });
    expect(prompts.cot.render({ episodeCount: 3 })).toBe("Judge 3");
    expect(prompts.grpo.hash).toBe(builtin("grpo").hash);
  });

  it("is asked for the language first and for any language then", async () => {
    await write("cot.md", cot("any"));
    await write("cot.zh.md", cot("评", "zh"));
    const texts = await Promise.all((["en", "zh"] as const).map(async (language) => (await loadTemplates({ dir, language })).cot.render({ episodeCount: 1 })));
    expect(texts).toEqual(["any 1", "评 1"]);
  });

  it("has a file of its own for labels by text", async () => {
    await write("comment_filter.md", labels("by number"));
    const [indexed, keyed] = [await loadTemplates({ dir }), await loadTemplates({ dir, variant: "keyed" })];
    expect(indexed.comment_filter.render({ commentsJson: ["x"] })).toContain("by number");
    expect(keyed.comment_filter.hash).toBe(builtin("comment_filter", { variant: "keyed" }).hash);
    await write("comment_filter.keyed.en.md", labels("by text"));
    expect((await loadTemplates({ dir, variant: "keyed" })).comment_filter.render({ commentsJson: ["x"] })).toContain("by text");
  });

  it.each([
    ["a name that is no prompt's", "cott.md", "x", "cott.md"],
    ["a name with another ending", "cot.txt", "x", "cot.txt"],
    ["a language that there is not", "cot.de.md", cot("x", "de"), "cot.de.md"],
    ["a keyed form that there is not", "cot.keyed.md", cot("x"), "cot.keyed.md"],
  ])("may not have %s", async (_what, name, text, message) => {
    await write(name, text);
    await expect(loadTemplates({ dir })).rejects.toThrow(expect.objectContaining({ code: "PROMPT_UNKNOWN", message: expect.stringContaining(message) as string }) as Error);
  });

  it.each([
    ["another prompt", "cot.md", cot("x").replace("id: cot", "id: caption"), 'its id is "caption"'],
    ["another form of answer", "cot.md", cot("x").replace("json", "text"), "its output is text"],
    ["another language than its name", "cot.en.md", cot("x", "zh"), 'its language is "zh"'],
    ["the known class for the sampler", "cot.md", ownTemplate("{{ groundTruth }}", { id: "cot", variables: "[groundTruth]", output: "json" }), "it uses groundTruth"],
    ["comments for the sampler", "cot.md", ownTemplate("{{ commentsJson }}", { id: "cot", variables: "[commentsJson]", output: "json" }), "it uses commentsJson"],
    ["a filter that does not see what it judges", "cot_filter.md", ownTemplate("{{ think }}", { id: "cot_filter", variables: "[think]", output: "json" }), "it does not use groundTruth, predicted, caption"],
    ["a text that is no template", "cot.md", "x", "no front matter"],
  ])("may not have %s", async (_what, name, text, message) => {
    await write(name, text);
    await expect(loadTemplates({ dir })).rejects.toThrow(expect.objectContaining({ code: "PROMPT_TEMPLATE", message: expect.stringMatching(new RegExp(`${name}.*${message}`, "u")) as string }) as Error);
  });

  it("must be there", async () => {
    await expect(loadTemplates({ dir: join(dir, "none") })).rejects.toThrow(expect.objectContaining({ code: "PROMPT_TEMPLATE", message: expect.stringContaining("none") as string }) as Error);
  });
});
