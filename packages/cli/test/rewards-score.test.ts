import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { hardened, prepareReference, scoreCompletion } from "@dramascope/rewards";
import { beforeAll, describe, expect, it } from "vitest";
import { run } from "./cli.ts";

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
    expect((await run("rewards", "score", "--in", at("in.jsonl"), "--out", at("absent.jsonl"), "--config", at("bad-options.yaml"))).code).toBe(3);
    expect((await run("rewards", "score", "--in", at("nowhere.jsonl"), "--out", at("absent.jsonl"))).code).toBe(3);
    await writeFile(at("broken-off.jsonl.gz"), gzipSync(`not json\n${JSON.stringify(line(1))}\n`.repeat(500)).subarray(0, -30));
    expect((await run("rewards", "score", "--in", at("broken-off.jsonl.gz"), "--out", at("absent/out.jsonl"), "--workers", "1")).code).not.toBe(0);
    expect(await readdir(at("absent"))).toEqual([]);
    await expect(readFile(at("absent.jsonl"))).rejects.toThrow();
  });
});
