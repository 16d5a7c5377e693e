import { writeAtomically, writeJsonl, writeTextAtomically } from "@dramascope/schema";
import { SCORE_NAMES } from "./indicators.ts";
import { tableFormat } from "./input-files.ts";
import { identifier, literal, withSession } from "./session.ts";

/** Characters that make a spreadsheet take a text for a formula, full-width forms included, also behind white space. */
const FORMULA = /^[\s\u0000]*[=+\-@\t\r＝＋－＠]|^[\t\r]/u;

function csvCell(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\n\r]/u.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A scored row or label as it is written. */
export interface ScoreRecord {
  /** As given. */
  dramaId: string;
  /** Weighted sum of the scores. */
  hotValue: number;
  /** Class; null when there is none. */
  quality: number | null;
  /** Nine, in the order of the indicators. */
  scores: Readonly<Record<(typeof SCORE_NAMES)[number], number>>;
  [key: string]: unknown;
}

type Records = Iterable<ScoreRecord> | AsyncIterable<ScoreRecord>;

async function* stream(records: Records): AsyncGenerator<ScoreRecord> {
  yield* records;
}

/** Names and values of the columns of a record, the scores as `score_NAME`. */
function flat({ scores, ...rest }: ScoreRecord): [string, unknown][] {
  return [...Object.entries(rest), ...SCORE_NAMES.map((name): [string, unknown] => [`score_${name}`, scores[name]])];
}

/** Values that are joined before they are written: single small writes are slow. */
const LINES_AT_ONCE = 512;

async function* csvText(records: AsyncIterable<ScoreRecord>): AsyncGenerator<string> {
  let isFirst = true;
  let lines: string[] = [];
  for await (const record of records) {
    const cells = flat(record);
    if (isFirst) lines.push(cells.map(([name]) => name).join(","));
    isFirst = false;
    lines.push(cells.map(([, value]) => csvCell(value)).join(","));
    if (lines.length < LINES_AT_ONCE) continue;
    yield `${lines.join("\r\n")}\r\n`;
    lines = [];
  }
  if (lines.length > 0) yield `${lines.join("\r\n")}\r\n`;
}

async function writeParquet(path: string, records: AsyncIterable<ScoreRecord>): Promise<void> {
  const { BOOLEAN, DOUBLE, DuckDBDataChunk, INTEGER, VARCHAR } = await import("@duckdb/node-api");
  const typeOf = (name: string, value: unknown): typeof DOUBLE | typeof VARCHAR | typeof BOOLEAN | typeof INTEGER =>
    name === "quality" || name === "rows" ? INTEGER : typeof value === "number" ? DOUBLE : typeof value === "boolean" ? BOOLEAN : VARCHAR;
  await withSession({ threads: 1 }, async (session) => {
    let appender: Awaited<ReturnType<typeof session.connection.createAppender>> | undefined;
    let types: ReturnType<typeof typeOf>[] = [];
    let waiting: unknown[][] = [];
    const flush = (): void => {
      const chunk = DuckDBDataChunk.create(types, waiting.length);
      types.forEach((_, k) => chunk.setColumnValues(k, waiting.map((row) => row[k]) as Parameters<typeof chunk.setColumnValues>[1]));
      appender!.appendDataChunk(chunk);
      waiting = [];
    };
    for await (const record of records) {
      const cells = flat(record);
      if (appender === undefined) {
        types = cells.map(([name, value]) => typeOf(name, value));
        await session.run(`CREATE TABLE scores (${cells.map(([name], k) => `${identifier(name)} ${types[k]!.toString()}`).join(", ")})`);
        appender = await session.connection.createAppender("scores");
      }
      waiting.push(cells.map(([, value]) => value));
      if (waiting.length === 2048) flush();
    }
    if (appender === undefined) await session.run(`CREATE TABLE scores ("dramaId" VARCHAR, "hotValue" DOUBLE, quality INTEGER)`);
    else if (waiting.length > 0) flush();
    appender?.closeSync();
    await writeAtomically(path, (temporary) => session.run(`COPY scores TO ${literal(temporary)} (FORMAT parquet, COMPRESSION zstd)`));
  });
}

/**
 * Writes scores as CSV that opens safely in a spreadsheet, JSONL (both also `.gz`) or Parquet, by the file's name; whole or absent.
 *
 * @throws HotValueError `FILE_FORMAT` for any other name.
 */
export async function writeScores(path: string, records: Records): Promise<void> {
  const format = tableFormat(path);
  if (format === "parquet") await writeParquet(path, stream(records));
  else if (format === "csv") await writeTextAtomically(path, csvText(stream(records)));
  else await writeJsonl(path, records);
}
