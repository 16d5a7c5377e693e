import { inputFiles, tableFormat } from "./input-files.ts";
import { parquetGroups, readParquetRows } from "./parquet-source.ts";
import { rowRules, type RowOptions } from "./rows.ts";
import { openSession, type SessionOptions } from "./session.ts";
import { readTextRows, type ReadRow } from "./text-rows.ts";

/** Options of {@link readRows}. */
export interface ReadOptions extends RowOptions, SessionOptions {
  /** Receives each column name that means nothing here, once. Default none. */
  onExtraColumn?: (name: string) => void;
}

/** Calls a function once a name, and for no more than 100 names. */
export function oncePerName(use: (name: string) => void): (name: string) => void {
  const seen = new Set<string>();
  return (name) => {
    if (seen.has(name) || seen.size >= 100) return;
    seen.add(name);
    use(name);
  };
}

/**
 * Rows of CSV, JSONL and Parquet files, streamed, and why others were left out. Text files and `.gz`; patterns are expanded.
 *
 * @throws HotValueError `FILE_NOT_FOUND`, `FILE_FORMAT`, `CSV_HEADER`, `COLUMNS_MISSING`, `FILE_UNREADABLE`.
 */
export async function* readRows(paths: string | readonly string[], options: ReadOptions = {}): AsyncGenerator<ReadRow> {
  const rules = rowRules(options);
  const onColumn = oncePerName(options.onExtraColumn ?? (() => undefined));
  for (const path of await inputFiles(typeof paths === "string" ? [paths] : paths)) {
    options.signal?.throwIfAborted();
    if (tableFormat(path) !== "parquet") yield* readTextRows(path, rules, onColumn);
    else yield* parquetRows(path);
  }
  async function* parquetRows(path: string): AsyncGenerator<ReadRow> {
    const session = await openSession(options);
    try {
      for (const group of await parquetGroups(session, [path], onColumn)) yield* readParquetRows(session, group, rules, "all");
    } finally {
      await session.close();
    }
  }
}
