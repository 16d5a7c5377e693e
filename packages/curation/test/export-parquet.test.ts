import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportSets } from "@dramascope/curation";
import { sha256 } from "@dramascope/schema";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { describe, expect, it } from "vitest";
import { answeredLedger, smallConfig, smallDrama } from "./answered-ledger.ts";

const SETS = ["samples", "sft", "grpo", "eval"];
const DRAMAS = Array.from({ length: 18 }, (_, i) => smallDrama(i, i === 5 ? { comments: ["剧情反转太绝了 😀", '"quoted", and \\ too'] } : {}));
const folder = async (): Promise<string> => join(await mkdtemp(join(tmpdir(), "dramascope-parquet-")), "export");

async function bytesOf(path: string): Promise<ArrayBuffer> {
  const bytes = await readFile(path);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}

describe("Parquet files", () => {
  it("hold what the JSONL files hold, and are the same each time", async () => {
    const config = smallConfig({ export: { formats: ["jsonl", "parquet"] }, balance: "weight" });
    const ledger = await answeredLedger(DRAMAS, config, { rejected: 0 });
    const dir = await folder();
    const manifest = await exportSets(ledger, config, dir);
    for (const set of SETS) {
      const rows = await parquetReadObjects({ file: await bytesOf(join(dir, `${set}.parquet`)) });
      const lines = (await readFile(join(dir, `${set}.jsonl`), "utf8")).split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(rows).toHaveLength(manifest.counts[set]!);
      expect(rows.length).toBeGreaterThan(0);
      for (const [i, row] of rows.entries()) {
        const filled = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null && value !== undefined));
        expect(filled).toEqual(Object.fromEntries(Object.entries(lines[i]!).filter(([, value]) => value !== null)));
      }
    }
    const again = await folder();
    expect(await exportSets(ledger, config, again)).toEqual(manifest);
    expect(sha256(await readFile(join(again, "sft.parquet")))).toBe(manifest.sha256["sft.parquet"]);
  });

  it("can be all that is wanted, and exist without a single row", async () => {
    const config = smallConfig();
    const ledger = await answeredLedger([smallDrama(4)], config);
    const dir = await folder();
    const manifest = await exportSets(ledger, config, dir, { formats: ["parquet"] });
    expect((await readdir(dir)).sort()).toEqual(["README.md", "eval.parquet", "grpo.parquet", "manifest.json", "samples.parquet", "sft.parquet", "splits.json"]);
    expect(Object.keys(manifest.sha256).filter((name) => name.endsWith(".jsonl"))).toEqual([]);
    const { num_rows: rows, schema } = parquetMetadata(await bytesOf(join(dir, "sft.parquet")));
    expect([rows, schema.filter(({ num_children: children }) => children === undefined).map(({ name }) => name)]).toEqual([0n, ["sampleId", "kind", "messages", "videos", "target", "weight", "element", "provenance"]]);
    expect(await readFile(join(dir, "README.md"), "utf8")).toContain("data_files: sft.parquet");
  });
});
