import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { readFranchises, readPredictions, readSlices, readTargets, readTruth } from "@dramascope/evaluation";
import { beforeAll, describe, expect, it } from "vitest";
import { code } from "./goldens.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-eval-"));
});
async function file(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), name.endsWith(".gz") ? gzipSync(text) : text);
  return join(folder, name);
}

describe("truth and predictions", () => {
  it("come from JSON and JSONL, packed or not, with ids beyond 2^53 and ids that are URLs", async () => {
    const truth = new Map([["7300000000000000001", 4], ["7300000000000000002", 5], ["https://example.org/v?id=1", 1]]);
    const json = '\uFEFF{"7300000000000000001": 4,\n "7300000000000000002": 5, "https://example.org/v?id=1": 1}';
    expect(await readTruth(await file("t.json", json))).toEqual(truth);
    expect(await readTruth(await file("t.json.gz", json))).toEqual(truth);
    expect(await readTruth(await file("t.jsonl.gz", [...truth].map(([dramaId, quality]) => JSON.stringify({ dramaId, quality, hotValue: 1 })).join("\n")))).toEqual(truth);
    expect(await readTruth(await file("u.jsonl", '{"dramaId":"a","quality":null}\n\n{"dramaId":"b"}\n{"dramaId":"c","quality":2}\n'))).toEqual(new Map([["c", 2]]));
  });

  it("may be classes, reals, distributions and assessments", async () => {
    const p = { p1: 0, p2: 0, p3: 0.5, p4: 0.5, p5: 0 };
    const lines = [{ dramaId: "a", score: 3.5, quality: 4 }, { dramaId: "b", score: null, quality: null }, { dramaId: "c", score: null, quality: 2 }, { dramaId: "d", score: 3.5, distribution: p }, { dramaId: "e", expected: 3.5, ...p }];
    const expected = new Map<string, unknown>([["a", 3.5], ["b", null], ["c", 2], ["d", { expected: 3.5, ...p }], ["e", { expected: 3.5, ...p }]]);
    expect(await readPredictions(await file("p.jsonl", lines.map((line) => JSON.stringify(line)).join("\n")))).toEqual(expected);
    expect(await readPredictions(await file("p.json", JSON.stringify(Object.fromEntries(expected))))).toEqual(expected);
    const digits = await file("s.json", '{"a":"4"}');
    await expect(readPredictions(digits)).rejects.toThrow(code("PREDICTION_INVALID"));
    expect(await readPredictions(digits, { coerce: true })).toEqual(new Map([["a", 4]]));
  });

  it("need no distribution: a bare expected class is its number, and null is a missing answer", async () => {
    expect(await readPredictions(await file("bare.jsonl", '{"dramaId":"a","expected":3.2}\n{"dramaId":"b","expected":null}\n{"dramaId":"c","expected":null,"p1":1}\n'))).toEqual(new Map([["a", 3.2], ["b", null], ["c", null]]));
    expect(await readPredictions(await file("bare.json", '{"a":{"expected":3.2},"b":{"expected":null}}'))).toEqual(new Map([["a", 3.2], ["b", null]]));
  });

  it.each([
    ['{"dramaId":"a","prediction":3}', "BAD_LINE", "wrong.jsonl:2: the prediction of a has none of score, quality and expected"],
    ['{"dramaId":"a","expected":3,"p1":0,"p3":1,"p4":0}', "PREDICTION_INVALID", "wrong.jsonl:2: the prediction of a is an object that lacks p2, p5"],
    ['{"dramaId":"a","expected":3,"p1":0,"p2":0,"p3":0.5,"p4":0,"p5":0}', "PREDICTION_INVALID", "an object whose p1 … p5 are 0, 0, 0.5, 0, 0"],
    ['{"dramaId":"a","expected":9}', "PREDICTION_INVALID", "an object whose expected is 9"],
  ])("%s is refused", async (line, expected, words) => {
    const path = await file("wrong.jsonl", `{"dramaId":"z","score":null}\n${line}\n`);
    await expect(readPredictions(path)).rejects.toThrow(code(expected));
    await expect(readPredictions(path)).rejects.toThrow(words);
  });

  it("say how many records have no class, and fail where none has", async () => {
    const warnings: string[] = [];
    const onWarning = (sentence: string): void => void warnings.push(sentence);
    const some = await file("some.jsonl", '{"dramaId":"a","quality":null}\n{"dramaId":"b"}\n{"dramaId":"c","quality":2}\n');
    await readTruth(some, { onWarning });
    expect(warnings).toEqual([`2 of 3 records of ${some} have no class`]);
    await expect(readTruth(await file("none.jsonl", '{"dramaId":"a","label":2}\n'))).rejects.toThrow(code("NO_TRUTH"));
  });

  it("name both lines of a doubled id, however it is spelt", async () => {
    await expect(readTruth(await file("d.json", '{"a":1,\n"b":{"a":2},\n"\\u0061":2}'))).rejects.toThrow("twice, in line 1 and in line 3");
    await expect(readPredictions(await file("d.jsonl", '{"dramaId":"a","score":1}\n{"dramaId":"b","score":2}\n{"dramaId":"a","score":3}\n'))).rejects.toThrow("twice, in line 1 and in line 3");
    await expect(readPredictions(await file("d2.jsonl", '{"dramaId":"a","score":1}\n{"dramaId":"a","score":1}\n'))).rejects.toThrow(code("DUPLICATE_ID"));
    const scored = '{"expected":3,"p1":0,"p2":0,"p3":1,"p4":0,"p5":0}';
    const nested = `{"x": ${scored}, "y"${" ".repeat(100)}: ${scored}, "say \\"a\\": [": 2}`;
    expect([...(await readPredictions(await file("nested.json", nested))).keys()]).toEqual(["x", "y", 'say "a": [']);
  });

  it("may use the names of object members as ids", async () => {
    const names = ["__proto__", "constructor", "toString"];
    const text = `{${names.map((name, i) => `"${name}": ${i + 1}`).join(",")}}`;
    expect(await readTruth(await file("proto.json", text))).toEqual(new Map(names.map((name, i) => [name, i + 1])));
  });

  it.each([
    ["number.jsonl", '{"dramaId":7300000000000000001,"quality":3}', "BAD_LINE", "number.jsonl:1: dramaId"],
    ["broken.jsonl", '{"dramaId":"a"}\n{', "BAD_LINE", "broken.jsonl:2"],
    ["class.json", '{"a":\n"4"}', "GOLD_INVALID", 'class.json:1: the class of a is "4"'],
    ["real.json", '{"a":2.5}', "GOLD_INVALID", "2.5"],
    ["list.json", "[1]", "FILE_INVALID", "object of ids"],
    ["torn.json", '{"a":1', "FILE_INVALID", "not JSON"],
  ])("%s is refused", async (name, text, expected, words) => {
    const path = await file(name, text);
    await expect(readTruth(path)).rejects.toThrow(code(expected));
    await expect(readTruth(path)).rejects.toThrow(words);
  });

  it("says what cannot be read", async () => {
    await expect(readTruth(join(folder, "missing.json"))).rejects.toThrow(code("FILE_UNREADABLE"));
    await expect(readPredictions(folder)).rejects.toThrow(code("FILE_UNREADABLE"));
  });
});

describe("metadata and targets", () => {
  it("slice by texts, whole numbers and quarters, not by titles, lists and fractions", async () => {
    const rows = [{ dramaId: "a", title: "x", genre: "甜宠", releasedOn: "2026-03-31", season: 2, isDubbed: false, episodes: [1], price: 1.5, __proto__: { y: "z" } }, { dramaId: "b", genre: "", releasedOn: "2026-04-01" }];
    const expected = new Map([["genre", new Map([["a", "甜宠"]])], ["isDubbed", new Map([["a", "false"]])], ["releasedOn", new Map([["a", "2026-Q1"], ["b", "2026-Q2"]])], ["season", new Map([["a", "2"]])]]);
    expect(await readSlices(await file("m.jsonl", rows.map((row) => JSON.stringify(row)).join("\n")))).toEqual(expected);
    expect(await readSlices(await file("m.json", JSON.stringify(Object.fromEntries(rows.map(({ dramaId, ...rest }) => [dramaId, rest])))))).toEqual(expected);
  });

  it("do not slice by free text and names of single items, and say so", async () => {
    const rows = Array.from({ length: 60 }, (_, i) => ({ dramaId: `d${i}`, genre: i % 50, franchiseId: `f${i}`, note: i === 3 ? "x".repeat(65) : "short", releasedOn: i === 0 ? "2024-13-01" : i === 1 ? "2023-02-30" : "2024-12-01" }));
    const warnings: string[] = [];
    const path = await file("free.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"));
    const slices = await readSlices(path, { onWarning: (sentence) => void warnings.push(sentence) });
    expect([...slices.keys()]).toEqual(["genre", "releasedOn"]);
    expect([...new Set(slices.get("releasedOn")!.values())]).toEqual(["2024-13-01", "2023-02-30", "2024-Q4"]);
    expect(warnings).toEqual([`${path} is not sliced by franchiseId: the field has more than 50 different values`, `${path} is not sliced by note: the field has a value longer than 64 characters`]);
    expect((await readFranchises(path)).get("d7")).toBe("f7");
  });

  it("targets are any finite numbers", async () => {
    expect(await readTargets(await file("c.jsonl", '{"dramaId":"a","target":0.013}'))).toEqual(new Map([["a", 0.013]]));
    expect(await readTargets(await file("c.json", '{"a":-2}'))).toEqual(new Map([["a", -2]]));
    await expect(readTargets(await file("n.json", '{"a":null}'))).rejects.toThrow(code("TARGET_INVALID"));
  });
});
