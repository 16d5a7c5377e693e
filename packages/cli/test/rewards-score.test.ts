import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { hardened, prepareReference, scoreCompletion } from "@dramascope/rewards";
import { beforeAll, describe, expect, it } from "vitest";
import { run, start } from "./cli.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-rewards-"));
});
const at = (name: string): string => join(folder, name);
const read = async (name: string): Promise<Record<string, unknown>[]> => (await readFile(at(name), "utf8")).trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);

const reference = { caption: "a girl marries an heir", comments: ["great twist"] };
const line = (i: number): object => ({ id: `d#${i}`, completion: `<caption>girl ${i}</caption><answer>${1 + (i % 5)}</answer>`, solution: "4", ...reference });

describe("rewards score", () => {
  it("keeps the order of a long file, scores the good lines and lists the bad ones", async () => {
    const good = Array.from({ length: 2500 }, (_, i) => line(i));
    const lines = good.map((one) => JSON.stringify(one));
    lines.splice(700, 0, "not json", '{"id":"x"}', "");
    lines.splice(1900, 0, JSON.stringify({ ...line(0), id: "" }));
    await writeFile(at("in.jsonl"), lines.join("\n"));
    const { code, stdout } = await run("rewards", "score", "--in", at("in.jsonl"), "--out", at("out.jsonl"), "--workers", "2", "--json");
    expect([code, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ items: 2500, unscored: 0, rejected: 3 })]);
    const prepared = prepareReference({ score: 4, ...reference });
    expect(await read("out.jsonl")).toEqual(good.map((_, i) => ({ id: `d#${i}`, ...scoreCompletion((line(i) as { completion: string }).completion, prepared), error: null })));
    expect((await read("rejected.jsonl")).map((one) => one["line"])).toEqual([701, 702, 1901]);
  });

  it("gives nulls with the error to a line with a broken reference", async () => {
    await writeFile(at("broken.jsonl"), [line(3), { ...line(3), id: "no caption", caption: "" }, { ...line(3), id: "class 7", solution: 7 }].map((one) => JSON.stringify(one)).join("\n"));
    const { code, stderr } = await run("rewards", "score", "--in", at("broken.jsonl"), "--out", at("broken-out.jsonl"), "--workers", "1");
    expect([code, stderr]).toEqual([0, expect.stringContaining("2 of them null")]);
    expect((await read("broken-out.jsonl")).map(({ accuracy, total, error }) => [accuracy, total === null, (error as { code: string } | null)?.code])).toEqual([[1, false, undefined], [null, true, "REFERENCE_CAPTION_EMPTY"], [null, true, "REFERENCE_SCORE_INVALID"]]);
  });

  it("takes options from a file and from words", async () => {
    await writeFile(at("one.jsonl"), JSON.stringify(line(3)));
    await writeFile(at("options.yaml"), "weights: { caption: 0, comments: 0, accuracy: 1, format: 0 }\nminCaptionTokens: 5\n");
    const version = async (...words: string[]): Promise<unknown> => {
      const { stdout } = await run("rewards", "score", "--in", at("one.jsonl"), "--out", at("one-out.jsonl"), "--workers", "1", "--json", ...words);
      return (JSON.parse(stdout) as { version: unknown }).version;
    };
    const weights = { caption: 0, comments: 0, accuracy: 1, format: 0 };
    expect(await version("--config", at("options.yaml"), "--tokenizer", "mixed")).toBe(prepareReference({ score: 4, ...reference }, { weights, minCaptionTokens: 5, tokenizer: "mixed" }).version);
    expect(await read("one-out.jsonl")).toMatchObject([{ total: 1, reasons: ["caption-too-short"] }]);
    expect(await version("--hardened")).toBe(prepareReference({ score: 4, ...reference }, hardened()).version);
  });

  it("writes nothing when it fails", async () => {
    await writeFile(at("bad-options.yaml"), "tokeniser: mixed\n");
    expect((await run("rewards", "score", "--in", at("in.jsonl"), "--out", at("absent.jsonl"), "--config", at("bad-options.yaml"))).code).toBe(2);
    expect((await run("rewards", "score", "--in", at("nowhere.jsonl"), "--out", at("absent.jsonl"))).code).toBe(3);
    await writeFile(at("broken-off.jsonl.gz"), gzipSync(`not json\n${JSON.stringify(line(1))}\n`.repeat(500)).subarray(0, -30));
    expect((await run("rewards", "score", "--in", at("broken-off.jsonl.gz"), "--out", at("absent/out.jsonl"), "--workers", "1", "--max-rejected-share", "1")).code).not.toBe(0);
    expect(await readdir(at("absent"))).toEqual([]);
    await expect(readFile(at("absent.jsonl"))).rejects.toThrow();
  });

  it.each([
    ["weights: null", "weights is null"],
    ["weights: [1, 0, 0, 0]", "weights is [1,0,0,0]"],
    ["weights: { caption: 1, comments: 1, accuracy: 1, format: 1 }", "caption 1"],
    ["limits: 5", "limits is 5"],
    ["limits: { words: 1 }", "limits.words is 1"],
    ["- a", "settings by name"],
  ])("refuses a configuration of %s as wrong usage", async (text, named) => {
    await writeFile(at("one.jsonl"), JSON.stringify(line(3)));
    await writeFile(at("wrong.yaml"), text);
    const { code, stderr } = await run("rewards", "score", "--in", at("one.jsonl"), "--out", at("absent.jsonl"), "--config", at("wrong.yaml"));
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^CONFIG_INVALID: .*wrong\.yaml/u)]);
    expect(stderr).toContain(named);
  });

  it("says at the end which references the tokenizer does not see", async () => {
    const lines = [line(1), { ...line(2), caption: "女主真美" }, { ...line(3), caption: "女主真美", comments: [] }].map((one) => JSON.stringify(one)).join("\n");
    await writeFile(at("chinese.jsonl"), lines);
    const { stdout, stderr } = await run("rewards", "score", "--in", at("chinese.jsonl"), "--out", at("chinese-out.jsonl"), "--workers", "1", "--json");
    expect(stderr).toContain("2 of 3 references have letters that the tokenizer rouge-score does not see; use --tokenizer mixed\n");
    expect(JSON.parse(stdout)).toMatchObject({ warnings: { "tokenizer-skips-letters": 2, "reference-caption-has-no-tokens": 2, "no-reference-comments": 1 } });
    expect((await read("chinese-out.jsonl"))[1]).not.toHaveProperty("warnings");
    const mixed = await run("rewards", "score", "--in", at("chinese.jsonl"), "--out", at("chinese-out.jsonl"), "--workers", "1", "--tokenizer", "mixed", "--json");
    expect(JSON.parse(mixed.stdout)).toMatchObject({ warnings: { "no-reference-comments": 1 } });
    expect(mixed.stderr).not.toContain("tokenizer");
  });

  it("names a solution that is none by its field, without its text", async () => {
    await writeFile(at("solution.jsonl"), JSON.stringify({ ...line(1), solution: "6 canary" }));
    await run("rewards", "score", "--in", at("solution.jsonl"), "--out", at("solution-out.jsonl"), "--workers", "1");
    expect(await read("solution-out.jsonl")).toMatchObject([{ id: "d#1", total: null, reasons: ["reference-score-invalid"], error: { code: "REFERENCE_SCORE_INVALID", message: "the reference's solution is not 1 to 5: it is a string" } }]);
  });
});

describe("bad lines of rewards score", () => {
  const score = (input: string, out: string, ...words: string[]): ReturnType<typeof run> => run("rewards", "score", "--in", at(input), "--out", at(out), "--workers", "1", ...words);
  const good = Array.from({ length: 300 }, (_, i) => JSON.stringify(line(i)));
  const old = '{"id":"old"}\n';

  it("above one in a hundred leave the output as it was, and are listed and named", async () => {
    await writeFile(at("bad.jsonl"), ["not json", ...good.slice(0, 5), "{}", "[]", "5"].join("\n"));
    await writeFile(at("kept.jsonl"), old);
    const { code, stderr } = await score("bad.jsonl", "kept.jsonl", "--rejected", at("bad-list.jsonl"));
    expect(code).toBe(3);
    expect(stderr).toMatch(/TOO_MANY_REJECTED: 4 of 9 lines are bad, the first \S+bad\.jsonl:1: not JSON/u);
    for (const [text, times] of [["bad.jsonl:7: ", 1], ["bad.jsonl:8: ", 1], ["bad.jsonl:9: ", 0]] as const) expect(stderr.split(text)).toHaveLength(times + 1);
    expect(await readFile(at("kept.jsonl"), "utf8")).toBe(old);
    expect((await read("bad-list.jsonl")).map((one) => one["line"])).toEqual([1, 7, 8, 9]);
    expect((await score("bad.jsonl", "kept.jsonl", "--max-rejected-share", "0.5")).code).toBe(0);
    expect(await read("kept.jsonl")).toHaveLength(5);
  });

  it("that are all there is end with an error, too", async () => {
    await writeFile(at("all-bad.jsonl"), "no\n".repeat(2000));
    expect((await score("all-bad.jsonl", "none.jsonl", "--quiet")).stderr).toContain("TOO_MANY_REJECTED: 2000 of 2000 lines");
    await expect(readFile(at("none.jsonl"))).rejects.toThrow();
  });

  it("are listed in a packed file, too", async () => {
    await writeFile(at("many-bad.jsonl"), [...good, ..."no ".repeat(2000).trimEnd().split(" ")].join("\n"));
    expect((await score("many-bad.jsonl", "many.jsonl", "--rejected", at("list.jsonl.gz"))).code).toBe(3);
    expect(gunzipSync(await readFile(at("list.jsonl.gz"))).toString().trimEnd().split("\n").map((text) => (JSON.parse(text) as { line: number }).line)).toEqual(Array.from({ length: 2000 }, (_, i) => 301 + i));
    expect((await readdir(folder)).filter((name) => name.includes(".tmp-"))).toEqual([]);
  });

  it("are those that name a shared reference", async () => {
    await writeFile(at("shared.jsonl"), [...good, JSON.stringify({ ...line(1), referenceKey: "r" })].join("\n"));
    expect((await score("shared.jsonl", "shared-out.jsonl", "--rejected", at("shared-list.jsonl"))).code).toBe(0);
    expect(await read("shared-list.jsonl")).toEqual([{ file: at("shared.jsonl"), line: 301, reason: expect.stringMatching(/^referenceKey: a file has no shared references/u) as string }]);
  });

  it("leave no list of an earlier run behind, and an empty one where it has a name", async () => {
    const list = at("lists/rejected.jsonl");
    await writeFile(at("with-bad.jsonl"), ["no", ...good].join("\n"));
    await writeFile(at("without-bad.jsonl"), good.join("\n"));
    await score("with-bad.jsonl", "lists/out.jsonl");
    expect(await readFile(list, "utf8")).not.toBe("");
    await score("without-bad.jsonl", "lists/out.jsonl", "--rejected", list);
    expect(await readFile(list, "utf8")).toBe("");
    await score("without-bad.jsonl", "lists/out.jsonl");
    await expect(readFile(list)).rejects.toThrow();
  });

  it("are not listed over the input or the output", async () => {
    await writeFile(at("rejected.jsonl"), good.join("\n"));
    await symlink(folder, at("link"));
    for (const [input, out, words] of [["with-bad.jsonl", "rejected.jsonl", []], ["rejected.jsonl", "out.jsonl", []], ["rejected.jsonl", "link/out.jsonl", []], ["with-bad.jsonl", "a.jsonl", ["--rejected", at("link/with-bad.jsonl")]], ["with-bad.jsonl", "new/a.jsonl", ["--rejected", at("new/../new/a.jsonl")]]] as const) {
      expect(await score(input, out, ...words)).toMatchObject({ code: 2, stderr: expect.stringContaining("--rejected FILE") as string });
    }
    expect(await readFile(at("rejected.jsonl"), "utf8")).toBe(good.join("\n"));
  });

  it.each(["-0.1", "1.5", "1e-2", "", "x"])("have no share of %j", async (share) => {
    expect((await score("with-bad.jsonl", "out.jsonl", "--max-rejected-share", share)).code).toBe(2);
  });

  it.each([
    ["the output's folder", ["--out", "file/out.jsonl"], "OUTPUT_UNWRITABLE"],
    ["a folder above it", ["--out", "file/deep/out.jsonl"], "OUTPUT_UNWRITABLE"],
    ["the list's folder", ["--out", "listless.jsonl", "--rejected", "file/list.jsonl"], "OUTPUT_UNWRITABLE"],
    ["the output", ["--out", "folder.jsonl"], "EISDIR"],
    ["the list", ["--out", "listless.jsonl", "--rejected", "folder.jsonl"], "EISDIR"],
  ])("and good ones end with an error where %s cannot be written, and with no thread left", async (_what, words, said) => {
    await writeFile(at("file"), "");
    await mkdir(at("folder.jsonl"), { recursive: true });
    await writeFile(at("long.jsonl"), [...good, ...good.map(() => "no"), ...good].join("\n"));
    const { done } = start(["rewards", "score", "--in", at("long.jsonl"), "--workers", "2", "--max-rejected-share", "1", ...words.map((word) => (word.includes(".jsonl") ? at(word) : word))]);
    expect(await done).toMatchObject({ code: 1, stderr: expect.stringContaining(said) as string });
    await expect(readFile(at("listless.jsonl"))).rejects.toThrow();
  });
});
