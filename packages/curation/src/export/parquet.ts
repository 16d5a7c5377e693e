import type { SchemaElement } from "hyparquet-writer";
import { curatedSample, readJsonl, trainingSample } from "@dramascope/schema";
import { CurationError } from "../errors.ts";

/** Rows held in memory at a time. */
const ROW_GROUP = 1000;

interface Column {
  name: string;
  /** JSON is text that holds a JSON value. */
  type: "STRING" | "JSON" | "INT32" | "DOUBLE" | "STRINGS";
}

const list = (names: string, type: Column["type"]): Column[] => names.split(" ").map((name) => ({ name, type }));
const TRAINING: readonly Column[] = [...list("sampleId kind", "STRING"), ...list("messages videos", "JSON")];
const ENDING: readonly Column[] = [...list("flags", "STRINGS"), ...list("provenance", "JSON")];
const REFERENCE: readonly Column[] = [...TRAINING, ...list("quality", "INT32"), ...list("caption", "STRING"), ...list("comments", "STRINGS"), ...ENDING];

/** Columns of each file of an export, in order. */
const COLUMNS = {
  samples: [
    ...list("sampleId dramaId split", "STRING"), ...list("quality", "INT32"), ...list("episodes", "JSON"), ...list("caption", "STRING"), ...list("comments", "STRINGS"),
    ...list("think decision", "STRING"), ...list("rounds", "JSON"), ...list("unresolved", "INT32"), ...ENDING,
  ],
  sft: [...TRAINING, ...list("target", "STRING"), ...list("weight", "DOUBLE"), ...ENDING],
  grpo: REFERENCE,
  eval: REFERENCE,
} satisfies Record<string, readonly Column[]>;
/** File of an export that can be written as Parquet. */
export type ParquetSet = keyof typeof COLUMNS;

const BASIC = { STRING: { type: "BYTE_ARRAY", converted_type: "UTF8" }, JSON: { type: "BYTE_ARRAY", converted_type: "JSON" }, INT32: { type: "INT32" }, DOUBLE: { type: "DOUBLE" } } as const;

/** Parquet's own description of a column; a list is three levels deep. */
const elements = ({ name, type }: Column): SchemaElement[] =>
  type === "STRINGS"
    ? [
        { name, repetition_type: "OPTIONAL", num_children: 1, converted_type: "LIST" },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", repetition_type: "OPTIONAL", ...BASIC.STRING },
      ]
    : [{ name, repetition_type: "OPTIONAL", ...BASIC[type] }];

/** Loaded by its name at run time, for it is optional. */
async function loadWriter(): Promise<typeof import("hyparquet-writer")> {
  try {
    return await import("hyparquet-writer");
  } catch (error) {
    throw new CurationError("Parquet files need the package hyparquet-writer, which is not installed", { code: "PARQUET_UNAVAILABLE", cause: error, hint: "npm install hyparquet-writer, or leave parquet out of export.formats." });
  }
}

/**
 * Writes the records of a JSONL file of an export as Parquet, a row group at a time. Scalars and lists of texts are columns of their own; messages, videos, rounds and provenance
 * are columns of JSON text. The same records give the same bytes.
 *
 * @throws CurationError `PARQUET_UNAVAILABLE` when hyparquet-writer is not installed.
 */
export async function writeParquet(set: ParquetSet, from: string, to: string): Promise<void> {
  const { ParquetWriter, fileWriter } = await loadWriter();
  const columns: readonly Column[] = COLUMNS[set];
  const schema = [{ name: "root", num_children: columns.length }, ...columns.flatMap(elements)];
  const writer = new ParquetWriter({ writer: fileWriter(to), schema, createdBy: "dramascope" });
  let rows: Record<string, unknown>[] = [];
  const flush = (): void => {
    const columnData = columns.map(({ name }) => ({ name, data: rows.map((row) => row[name] ?? null) }));
    void writer.write({ columnData, rowGroupSize: ROW_GROUP });
    rows = [];
  };
  for await (const row of readJsonl(from, set === "samples" ? curatedSample : trainingSample)) {
    rows.push(row);
    if (rows.length === ROW_GROUP) flush();
  }
  if (rows.length > 0) flush();
  void writer.finish();
}
