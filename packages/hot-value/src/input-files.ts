import { access, glob } from "node:fs/promises";
import { HotValueError } from "./errors.ts";

/** Form of a table file. */
export type TableFormat = "csv" | "jsonl" | "parquet";

/**
 * Form of a table file by its name: `.csv`, `.jsonl`, `.ndjson`, each also with `.gz`, or `.parquet`.
 *
 * @throws HotValueError `FILE_FORMAT` for any other name.
 */
export function tableFormat(path: string): TableFormat {
  const name = /\.(?:(csv|jsonl|ndjson)(?:\.gz)?|(parquet))$/iu.exec(path);
  if (!name) throw new HotValueError(`${path}: the name does not end in .csv, .jsonl, .ndjson (with or without .gz) or .parquet`, { code: "FILE_FORMAT", hint: "Convert the file, or name it by what it holds." });
  const format = (name[1] ?? name[2]!).toLowerCase();
  return format === "ndjson" ? "jsonl" : (format as TableFormat);
}

/**
 * Files that paths and patterns name, each once; those of a pattern in the order of their names.
 *
 * @throws HotValueError `FILE_NOT_FOUND` for a path that is not there and a pattern that matches nothing, `FILE_FORMAT` for a foreign name.
 */
export async function inputFiles(paths: readonly string[]): Promise<string[]> {
  const found = new Set<string>();
  for (const path of paths) {
    const isThere = await access(path).then(() => true, () => false);
    const isPattern = !isThere && /[*?[{]/u.test(path);
    const matches: string[] = isThere ? [path] : [];
    if (isPattern) for await (const match of glob(path)) matches.push(match);
    if (matches.length === 0) throw new HotValueError(`${path}: ${isPattern ? "no file matches" : "there is no such file"}`, { code: "FILE_NOT_FOUND", hint: "Check the path." });
    for (const match of matches.sort()) {
      tableFormat(match);
      found.add(match);
    }
  }
  return [...found];
}
