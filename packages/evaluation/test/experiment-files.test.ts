import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { readArmSummaries, readExperimentRows, readItemRows, type ExperimentPlan } from "@dramascope/evaluation";
import { beforeAll, describe, expect, it } from "vitest";
import { PLAN } from "./experiment-data.ts";

const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;
const plan: ExperimentPlan = { ...PLAN, metrics: [{ ...PLAN.metrics[0]!, prePeriod: "before" }], slices: ["genre"] };
const all = async <T>(rows: AsyncIterable<T>): Promise<T[]> => {
  const list: T[] = [];
  for await (const row of rows) list.push(row);
  return list;
};
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-experiment-files-"));
});
const write = async (name: string, text: string | Uint8Array): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
};
const read = async (path: string): Promise<{ rows: unknown[]; rejected: [number, string][] }> => {
  const rejected: [number, string][] = [];
  const rows = await all(readExperimentRows(path, plan, { onRejected: ({ line, reason }) => rejected.push([line, reason]) }));
  return { rows, rejected };
};

const expected = [
  { userId: "7300000000000000001", variant: "A", clicks: 3, impressions: 40, before: null },
  { userId: "a,\"b", variant: "B", clicks: 0, impressions: 1.5, before: 0.25 },
];
const csv = '\uFEFFextra,before,variant,userId,impressions,clicks\r\nx,,A,7300000000000000001,40,3\r\n\r\n"y",.25,B,"a,""b",1.5,0\r\n';

describe("rows of users", () => {
  it.each([
    ["CSV", "rows.csv", csv],
    ["packed CSV", "rows.csv.gz", gzipSync(csv)],
    ["JSONL", "rows.jsonl", expected.map((row) => `${JSON.stringify(row)}\n`).join("")],
  ])("from %s", async (_, name, text) => expect(await read(await write(name, text))).toEqual({ rows: expected, rejected: [] }));

  // Each bad line is named; the good ones stay.
  it.each([
    ["a percentage", "A,u,12%,40,1", /clicks is "12%"/u],
    ["a thousands separator", 'A,u,"1,234",40,1', /clicks is "1,234"/u],
    ["a count in words", "A,u,12万,40,1", /clicks is "12万"/u],
    ["NaN", "A,u,NaN,40,1", /clicks is "NaN"/u],
    ["infinity", "A,u,1e999,40,1", /clicks is Infinity/u],
    ["an empty cell, which is not 0", "A,u,,40,1", /clicks is null/u],
    ["null", "A,u,null,40,1", /clicks is null/u],
    ["an unknown variant", "C,u,1,40,1", /variant is "C"; the plan has A, B/u],
    ["no user", "A,,1,40,1", /userId is null/u],
    ["a missing cell", "A,u,1,40", /4 cells where the header has 5/u],
    ["an open quote", 'A,"u,1,40,1', /quote/u],
    ["bytes of another encoding", Buffer.from([0x41, 0x2c, 0xb5, 0xe7, 0x2c, 0x31, 0x2c, 0x32, 0x2c, 0x33]), /not UTF-8/u],
  ] as [string, string | Buffer, RegExp][])("reports %s", async (_, line, reason) => {
    const path = await write("bad.csv", Buffer.concat([Buffer.from("variant,userId,clicks,impressions,before\nA,good,1,2,3\n"), Buffer.from(line), Buffer.from("\nB,fine,1,2,\n")]));
    const { rows, rejected } = await read(path);
    expect(rows).toHaveLength(2);
    expect(rejected).toEqual([[3, expect.stringMatching(reason) as string]]);
    await expect(all(readExperimentRows(path, plan))).rejects.toThrow(expect.objectContaining({ code: "BAD_LINE", message: expect.stringContaining("bad.csv:3: ") as string }) as Error);
  });

  it("reports bad JSON, and numbers as ids", async () => {
    const { rows, rejected } = await read(await write("bad.jsonl", '{"userId":7300000000000000001,"variant":"A","clicks":1,"impressions":2}\n[1]\n{"userId"\n{"__proto__":{"clicks":1},"userId":"u","variant":"A","impressions":2}\n'));
    expect(rows).toEqual([]);
    expect(rejected.map(([line]) => line)).toEqual([1, 2, 3, 4]);
    expect(rejected[0]![1]).toContain("give it as text");
  });

  it.each([
    ["lacks a column", "head.csv", "userId,variant,clicks\n", "CSV_HEADER"],
    ["has a column twice", "twice.csv", "userId,variant,clicks,clicks,impressions,before\n", "CSV_HEADER"],
    ["is of another kind", "rows.xlsx", "", "FILE_FORMAT"],
    ["is cut short", "cut.csv.gz", gzipSync(csv).subarray(0, 60), "FILE_UNREADABLE"],
  ] as [string, string, string | Uint8Array, string][])("refuses a file that %s", async (_, name, text, expected) => expect(read(await write(name, text))).rejects.toThrow(code(expected)));
});

it("reads rows of dramas with their slices", async () => {
  const path = await write("items.csv", "dramaId,variant,clicks,impressions,genre\nd1,A,1,2,=HYPERLINK()\nd2,B,3,4,\n");
  expect(await all(readItemRows(path, plan))).toEqual([
    { dramaId: "d1", variant: "A", clicks: 1, impressions: 2, genre: "=HYPERLINK()" },
    { dramaId: "d2", variant: "B", clicks: 3, impressions: 4, genre: null },
  ]);
});

it("reads summaries, and refuses half ones", async () => {
  const header = "variant,metric,mean,variance,n\n";
  expect(await readArmSummaries(await write("s.csv", `${header}A,ctr,.4,1.5,100\n`))).toEqual([{ variant: "A", metric: "ctr", mean: 0.4, variance: 1.5, n: 100 }]);
  await expect(readArmSummaries(await write("h.csv", `${header}A,ctr,,1.5,100\n`))).rejects.toThrow(code("BAD_LINE"));
  await expect(readArmSummaries(await write("t.jsonl", '{"variant":1}\n'))).rejects.toThrow(code("BAD_LINE"));
});
