import { HotValueError } from "./errors.ts";
import { INDICATORS, SCORE_NAMES } from "./indicators.ts";
import { COLUMNS, createRowCheck, jsonNumber, MAX_VALUE, type RowRules } from "./rows.ts";
import { identifier, literal, type Session } from "./session.ts";
import type { ReadRow } from "./text-rows.ts";

/** Parquet files whose columns have the same types. */
export interface ParquetGroup {
  files: string[];
  /** Type of each column in the words of the database. */
  types: ReadonlyMap<string, string>;
}

/**
 * Groups Parquet files by the types of their columns.
 *
 * @throws HotValueError `COLUMNS_MISSING`, or `FILE_UNREADABLE` for a file that is no Parquet.
 */
export async function parquetGroups(session: Session, files: readonly string[], onColumn: (name: string) => void): Promise<ParquetGroup[]> {
  const groups = new Map<string, ParquetGroup>();
  for (const file of files) {
    const described = await session.rows(`DESCRIBE SELECT * FROM read_parquet(${literal(file)})`).catch((error: unknown) => {
      throw new HotValueError(`${file} cannot be read as Parquet`, { code: "FILE_UNREADABLE", cause: error, hint: "Check the file." });
    });
    const types = new Map(described.map(([name, type]) => [String(name), String(type)]));
    const missing = COLUMNS.filter((name) => !types.has(name));
    if (missing.length > 0) throw new HotValueError(`${file} lacks the columns ${missing.join(", ")}`, { code: "COLUMNS_MISSING", hint: "Give all twelve columns." });
    for (const name of types.keys()) if (!(COLUMNS as readonly string[]).includes(name)) onColumn(name);
    const key = JSON.stringify(COLUMNS.map((name) => types.get(name)));
    const group = groups.get(key) ?? { files: [], types };
    groups.set(key, group);
    group.files.push(file);
  }
  return [...groups.values()];
}

const IS_NUMBER = /^(?:U?(?:TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL\(\d+,\d+\)|FLOAT|DOUBLE)$/u;
const IS_ID = /^(?:VARCHAR|ENUM\(.*|UUID|U?(?:TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL\(\d+,0\))$/su;
/** White space that JavaScript trims, and characters that no id may hold. */
const SPACE = String.raw`[\t\n\v\f\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}]`;
const BAD_ID = literal(String.raw`[\x{0}-\x{1f}\x{7f}\x{fffd}]|^${SPACE}|${SPACE}$`);

/** The day of a column, null when it holds none. */
function dayOf(name: string, type: string): string {
  const column = identifier(name);
  const inRange = (day: string): string => `CASE WHEN ${day} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31' THEN ${day} END`;
  if (type === "DATE") return inRange(column);
  if (type === "VARCHAR") return inRange(`CASE WHEN regexp_full_match(${column}, '[0-9]{4}-[0-9]{2}-[0-9]{2}') THEN try_cast(${column} AS DATE) END`);
  return "NULL::DATE";
}

/** The number of a column; NaN where it holds something that is none. */
function numberOf(name: string, type: string): string {
  const column = identifier(name);
  return type === "DOUBLE" ? column : IS_NUMBER.test(type) ? `${column}::DOUBLE` : `CASE WHEN ${column} IS NOT NULL THEN 'nan'::DOUBLE END`;
}

const idOf = (type: string): string => (type === "VARCHAR" ? identifier("dramaId") : IS_ID.test(type) ? `${identifier("dramaId")}::VARCHAR` : "NULL::VARCHAR");
const table = (files: readonly string[]): string => `read_parquet([${files.map(literal).join(", ")}], file_row_number = true, filename = true)`;

/** A completion rate as a ratio by the rules; NaN where it is refused, null where unknown. */
function ratioSql(number: string, { unit, outOfRange, null: unknown }: RowRules["completion"]): string {
  const ratio = unit === "percent" ? `(${number} / 100)` : number;
  const kept = outOfRange === "clamp" ? `CASE WHEN isfinite(${ratio}) THEN greatest(0::DOUBLE, least(1::DOUBLE, ${ratio})) ELSE ${ratio} END` : ratio;
  return unknown === "reject" ? `coalesce(${kept}, 'nan'::DOUBLE)` : kept;
}

/**
 * The rows of a group as SQL: `dramaId`, `date`, `releasedOn`, the nine numbers by the rules (NaN or null where they cannot be used),
 * `isNamed` (id and days are in order), `file` and `line`.
 */
export function parquetSource({ files, types }: ParquetGroup, rules: RowRules): string {
  const id = idOf(types.get("dramaId")!);
  const [date, released] = [dayOf("date", types.get("date")!), dayOf("releasedOn", types.get("releasedOn")!)];
  // Nearly all ids are plain; the rest is looked at closely. Up to 128 bytes no id is too long; above, UTF-16 units are counted, as everywhere else.
  const isId = `CASE WHEN regexp_full_match(${id}, '[!-~]+') THEN strlen(${id}) <= 128 ELSE ${id} <> '' AND NOT regexp_matches(${id}, ${BAD_ID}) AND length(${id}) + length(regexp_replace(${id}, '[^\\x{10000}-\\x{10ffff}]', '', 'g')) <= 128 END`;
  const eight = INDICATORS.map((name) => `${rules.missing === "zero" ? `coalesce(${numberOf(name, types.get(name)!)}, 0)` : numberOf(name, types.get(name)!)} AS ${identifier(name)}`);
  const ratio = `${ratioSql(numberOf("completionRate", types.get("completionRate")!), rules.completion)} AS "completionRate"`;
  return `SELECT ${id} AS "dramaId", ${date} AS date, ${released} AS "releasedOn", ${[...eight, ratio].join(", ")}, coalesce(${isId} AND ${date} >= ${released}, false) AS "isNamed", filename AS file, file_row_number + 1 AS line FROM ${table(files)}`;
}

/** Whether a row of {@link parquetSource} can be used: the verdict of the row check, in SQL. */
export const USABLE = `("isNamed" AND ${INDICATORS.map((name) => `coalesce(${identifier(name)} BETWEEN 0::DOUBLE AND ${MAX_VALUE}::DOUBLE, false)`).join(" AND ")} AND coalesce("completionRate" BETWEEN 0::DOUBLE AND 1::DOUBLE, "completionRate" IS NULL))`;

/** Rows of a group as they are read one by one, each checked and named as the lines of a text file are. */
export async function* readParquetRows(session: Session, { files, types }: ParquetGroup, rules: RowRules, where: "all" | "unusable"): AsyncGenerator<ReadRow> {
  const dateText = (name: string): string => (types.get(name) === "DATE" || types.get(name) === "VARCHAR" ? `${identifier(name)}::VARCHAR` : `CASE WHEN ${identifier(name)} IS NOT NULL THEN '' END`);
  const isId = IS_ID.test(types.get("dramaId")!);
  const columns = [isId ? idOf(types.get("dramaId")!) : `${identifier("dramaId")} IS NOT NULL`, dateText("date"), dateText("releasedOn"), ...SCORE_NAMES.map((name) => numberOf(name, types.get(name)!))];
  const check = createRowCheck(jsonNumber, rules);
  const filter = where === "all" ? "" : ` SEMI JOIN (SELECT file, line FROM (${parquetSource({ files, types }, rules)}) WHERE NOT ${USABLE}) bad ON bad.file = filename AND bad.line = file_row_number + 1 ORDER BY list_position([${files.map(literal).join(", ")}], filename), file_row_number`;
  for await (const chunk of session.chunks(`SELECT ${columns.join(", ")}, filename, file_row_number + 1 FROM ${table(files)}${filter}`)) {
    const values = chunk.getColumns();
    for (let i = 0; i < chunk.rowCount; i++) {
      const fields: Record<string, unknown> = {};
      COLUMNS.forEach((name, k) => (fields[name] = values[k]![i]));
      if (!isId) fields["dramaId"] = values[0]![i] === true ? 0 : null;
      const [file, line] = [String(values[12]![i]), Number(values[13]![i])];
      const result = check(fields);
      yield result.ok ? { row: result.row, line, ...(result.warning && { warning: result.warning }) } : { rejected: { file, line, reason: result.error, field: result.field } };
    }
  }
}
