import { mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { canonicalJson, DataError, drama, DramascopeError, hashJson, hotValueRecord, parseRecord, readJsonl, readLines, writeAtomically, writeFolderAtomically, writeJsonl, writeTextAtomically, type RejectedLine } from "@dramascope/schema";
import { beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-schema-"));
});

const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};

describe("JSONL", () => {
  const record = z.object({ id: z.string(), value: z.number() });

  it.each(["a.jsonl", "a.jsonl.gz"])("reads what it wrote: %s", async (name) => {
    const path = join(folder, name);
    const records = Array.from({ length: 5000 }, (_, i) => ({ id: `女主-${i}`, value: i / 7 }));
    expect(await writeJsonl(path, records)).toBe(5000);
    expect(await collect(readJsonl(path, record))).toEqual(records);
    expect(await readdir(folder)).toEqual([name]);
  });

  it("passes over a byte order mark, CRLF and blank lines, and reads a last line without an end", async () => {
    const path = join(folder, "b.jsonl");
    await writeFile(path, '\uFEFF{"id":"a","value":1}\r\n\r\n{"id":"b","value":2}');
    expect(await collect(readJsonl(path, record))).toEqual([{ id: "a", value: 1 }, { id: "b", value: 2 }]);
    expect(await collect(readLines(path))).toHaveLength(3);
  });

  it("names file and line of a bad record, or hands it over", async () => {
    const path = join(folder, "c.jsonl");
    await writeFile(path, '{"id":"a","value":1}\n{"id":7,"value":2}\nnot json\n');
    await expect(collect(readJsonl(path, record))).rejects.toThrow(`${path}:2: id:`);
    const rejected: RejectedLine[] = [];
    expect(await collect(readJsonl(path, record, { onRejected: (line) => rejected.push(line) }))).toHaveLength(1);
    expect(rejected.map(({ line }) => line)).toEqual([2, 3]);
    expect(rejected[1]!.reason).toContain("not JSON");
  });

  it.each([
    ["a word", '{"id": x13800138000}', "not JSON (Unexpected token at position 7 (column 8))"],
    ["text", "sk-canary-4711", "not JSON (Unexpected token at position 0 (column 1))"],
    ["a long line", `{"id":"${"女".repeat(300)}","value":[1,13800138000,sk-canary-4711,"${"a".repeat(300)}"]}`, "not JSON (Unexpected token at position 332 (column 333))"],
    ["an open string", '{"id":"13800138000', "not JSON (Unterminated string in JSON at position 18 (line 1 column 19))"],
    ["a line that ends early", '{"id":"13800138000","value":', "not JSON (Unexpected end of JSON input)"],
    ["text after the record", "13800138000 sk-canary-4711", "not JSON (Unexpected non-whitespace character after JSON at position 12 (line 1 column 13))"],
    ["values", '{"id":["13800138000"],"value":"sk-canary-4711"}', "id: Invalid input: expected string, received array; value: Invalid input: expected number, received string"],
    ["keys", '{"id":"a","value":1,"seen":{"13800138000":"x","sk-canary-4711":"x","u13800138000":"x","from":"x"}}', "seen.…: Invalid input: expected number, received string; seen.…: Invalid input: expected number, received string; seen.…: Invalid input: expected number, received string; seen.from: Invalid input: expected number, received string"],
    ["keys too many", '{"id":"a","value":1,"sk-canary-4711":1}', "Unrecognized keys"],
    ["a field too many", '{"id":"a","value":1,"title":1}', 'Unrecognized key: "title"'],
  ])("says what is wrong with %s, and repeats nothing of it", async (_what, line, reason) => {
    const path = join(folder, "bad.jsonl");
    await writeFile(path, line);
    const strict = z.strictObject({ ...record.shape, seen: z.record(z.string(), z.number()).optional() });
    await expect(collect(readJsonl(path, strict))).rejects.toMatchObject({ message: `${path}:1: ${reason}` });
  });

  it("tells bytes that are no UTF-8 from text that holds the replacement character", async () => {
    const path = join(folder, "gbk.jsonl");
    const line = (id: Buffer | string): Buffer => Buffer.concat([Buffer.from('{"id":"'), Buffer.from(id as string), Buffer.from('","value":1}\n')]);
    await writeFile(path, Buffer.concat([line("女主"), line(Buffer.from([0xd6, 0xf7])), line("\uFFFD"), line("男主")]));
    expect((await collect(readLines(path))).map(({ line: number, isUtf8 }) => [number, isUtf8])).toEqual([[1, true], [2, false], [3, true], [4, true]]);
    const rejected: RejectedLine[] = [];
    expect((await collect(readJsonl(path, record, { onRejected: (one) => rejected.push(one) }))).map(({ id }) => id)).toEqual(["女主", "\uFFFD", "男主"]);
    expect(rejected).toEqual([{ file: path, line: 2, reason: "not UTF-8 text; convert the file" }]);
  });

  it("reads characters and lines that lie across the pieces of a file", async () => {
    const path = join(folder, "long.jsonl");
    const records = ["女".repeat(100_001), "b", "主".repeat(70_003)].map((id, value) => ({ id, value }));
    await writeJsonl(path, records);
    expect(await collect(readJsonl(path, record))).toEqual(records);
  });

  it("names a file that cannot be read", async () => {
    await expect(collect(readLines(join(folder, "none.jsonl")))).rejects.toMatchObject({ code: "FILE_UNREADABLE", message: expect.stringContaining("none.jsonl") as string });
    await expect(collect(readLines(folder))).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
  });

  it("cuts the list of problems of a wrong record", () => {
    const wrong = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`key${i}`, i]));
    expect(() => parseRecord(z.strictObject({}), wrong, "x.json")).toThrow(/^.{1,220}$/u);
  });

  it("reports a damaged gzip file", async () => {
    const path = join(folder, "d.jsonl.gz");
    await writeFile(path, gzipSync('{"id":"a","value":1}\n'.repeat(100)).subarray(0, 30));
    await expect(collect(readJsonl(path, record))).rejects.toThrow(/unexpected end/u);
  });
});

describe("whole or absent", () => {
  it("leaves nothing behind when the writer fails, and keeps the old file", async () => {
    const path = join(folder, "x.txt");
    await writeFile(path, "old");
    await expect(
      writeAtomically(path, async (temporary) => {
        await writeFile(temporary, "half");
        throw new Error("no space");
      }),
    ).rejects.toThrow("no space");
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(["x.txt"]);
  });

  it("replaces a folder as a whole and leaves the old one when the writer fails", async () => {
    const path = join(folder, "deep", "run");
    await writeFolderAtomically(path, (temporary) => writeFile(join(temporary, "a"), "1"));
    await writeFolderAtomically(path, (temporary) => writeFile(join(temporary, "b"), "2"));
    await expect(
      writeFolderAtomically(path, async (temporary) => {
        await writeFile(join(temporary, "c"), "half");
        throw new Error("no space");
      }),
    ).rejects.toThrow("no space");
    expect(await readdir(path)).toEqual(["b"]);
    expect(await readdir(join(folder, "deep"))).toEqual(["run"]);
    expect((await stat(path)).mode).toBe((await stat(join(folder, "deep"))).mode);
  });

  it("writes many chunks, and nothing when a chunk cannot be made", async () => {
    const path = join(folder, "long.txt");
    await writeTextAtomically(path, Array.from({ length: 20_000 }, () => "0123456789".repeat(10)));
    expect((await stat(path)).size).toBe(2_000_000);
    function* broken(): Generator<string> {
      yield "half";
      throw new Error("no more");
    }
    await expect(writeTextAtomically(join(folder, "short.txt"), broken())).rejects.toThrow("no more");
    expect(await readdir(folder)).toEqual(["long.txt"]);
  });
});

describe("records", () => {
  it("keeps unknown fields of a drama and refuses a numeric id", () => {
    const value = { dramaId: "7300000000000000001", releasedOn: "2026-05-01", episodes: [{ index: 1, path: "1.mp4" }], studio: "x" };
    expect(parseRecord(drama, value, "dramas.jsonl:1")).toEqual(value);
    expect(() => parseRecord(drama, { ...value, dramaId: 7300000000000000001 }, "dramas.jsonl:1")).toThrow(/dramas\.jsonl:1: dramaId/u);
    expect(() => parseRecord(drama, { ...value, releasedOn: "2026-02-30" }, "x")).toThrow(DataError);
    expect(() => parseRecord(drama, { ...value, dramaId: " a" }, "x")).toThrow(DataError);
  });

  it("refuses numbers that are not finite", () => {
    expect(hotValueRecord.safeParse({ dramaId: "a", hotValue: Number.NaN, quality: 1, peakDate: "2026-01-01", scores: {}, modelHash: "" }).success).toBe(false);
  });
});

describe("canonical JSON", () => {
  it("sorts keys, leaves undefined out and refuses what JSON cannot hold", () => {
    expect(canonicalJson({ b: [1, { d: null, c: "é" }], a: undefined, Z: -0 })).toBe('{"Z":0,"b":[1,{"c":"é","d":null}]}');
    expect(hashJson({ a: 1, b: 2 })).toBe(hashJson({ b: 2, a: 1 }));
    expect(() => canonicalJson({ a: Number.NaN })).toThrow(TypeError);
    expect(() => canonicalJson(() => 1)).toThrow(TypeError);
  });
});

describe("DramascopeError", () => {
  it("is recognised across copies by its brand", () => {
    class Own extends DramascopeError {}
    const error = new Own("what", { code: "OWN", hint: "do this", cause: new Error("why") });
    expect(DramascopeError.isInstance(error)).toBe(true);
    expect(DramascopeError.isInstance({ [Symbol.for("dramascope.error")]: true })).toBe(true);
    expect(DramascopeError.isInstance(new Error("x"))).toBe(false);
    expect([error.name, error.code, error.hint]).toEqual(["Own", "OWN", "do this"]);
  });
});
