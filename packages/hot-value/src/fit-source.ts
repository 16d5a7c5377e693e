import type { HotValueError } from "./errors.ts";
import { inputFiles, tableFormat } from "./input-files.ts";
import { checkRejected, duplicateError, type RejectedCounts, type RejectedRow } from "./intake.ts";
import type { FitPlan } from "./options.ts";
import { parquetGroups, parquetSource, readParquetRows, USABLE } from "./parquet-source.ts";
import { lastEligibleRelease } from "./eligibility.ts";
import { oncePerName } from "./read-rows.ts";
import { INDICATORS } from "./indicators.ts";
import { identifier, literal, type Session } from "./session.ts";
import { openSpill } from "./spill.ts";
import { readTextRows } from "./text-rows.ts";

/** The rows of all files as one table of the database. */
export interface FitSource {
  /** SQL of the rows that count: up to the day of the fit, usable, none twice unless that is an error. */
  sql: string;
  /** Rows of the population by date. */
  rowsByDate: Map<string, number>;
  /** All rows of the files. */
  total: number;
  rejected: { count: number; reasons: RejectedCounts };
  counts: { afterAsOf: number; duplicates: number; precisionLoss: number };
  extraColumns: string[];
}

/** Whether a row belongs to the cohort of its date, in SQL. */
export function memberSql({ options: { reference, minAge }, asOf }: FitPlan): string {
  return reference.population === "all" ? "true" : `"releasedOn" <= DATE ${literal(lastEligibleRelease(asOf, minAge))}`;
}

/** Names two rows of one drama and date. */
export async function findDuplicate(session: Session, sql: string): Promise<HotValueError | undefined> {
  const [pair] = await session.rows(`SELECT "dramaId", date::VARCHAR, list(file || ':' || line ORDER BY file, line)[1:2] FROM (${sql}) GROUP BY "dramaId", date HAVING count(*) > 1 ORDER BY 1, 2 LIMIT 1`);
  if (!pair) return undefined;
  const places = (pair[2] as { items: string[] }).items;
  return duplicateError(String(pair[0]), String(pair[1]), places[0]!, places[1]!);
}

/**
 * Brings files into a database: text files by the same reader as everywhere, Parquet where it lies. Yields every refused row; the source is returned.
 *
 * @throws HotValueError `TOO_MANY_REJECTED`, and those of the readers.
 */
export async function* prepareSource(session: Session, paths: readonly string[], plan: FitPlan): AsyncGenerator<RejectedRow, FitSource> {
  const { options, asOf, onProgress, signal } = plan;
  const files = await inputFiles(paths);
  const extraColumns: string[] = [];
  const onColumn = oncePerName((name) => extraColumns.push(name));
  const reasons: RejectedCounts = {};
  let first: RejectedRow | undefined;
  let refused = 0;
  let textRows = 0;
  const note = (row: RejectedRow): RejectedRow => {
    first ??= row;
    refused++;
    reasons[row.reason] = (reasons[row.reason] ?? 0) + 1;
    return row;
  };

  const texts = files.filter((file) => tableFormat(file) !== "parquet");
  const parts: string[] = [];
  if (texts.length > 0) {
    const spill = await openSpill(session);
    for (const [index, file] of texts.entries()) {
      for await (const item of readTextRows(file, options, onColumn)) {
        if (++textRows % 10_000 === 0) {
          signal?.throwIfAborted();
          onProgress({ phase: "reading", done: textRows });
        }
        if ("rejected" in item) yield note(item.rejected);
        else spill.add(item.row, index, item.line);
      }
    }
    spill.end();
    parts.push(`SELECT * REPLACE (([${texts.map(literal).join(", ")}]::VARCHAR[])[file + 1] AS file, line::BIGINT AS line), true AS "isNamed" FROM spilled`);
  }
  const groups = await parquetGroups(session, files.filter((file) => tableFormat(file) === "parquet"), onColumn);
  const columns = `"dramaId", date, "releasedOn", ${[...INDICATORS, "completionRate"].map(identifier).join(", ")}, "isNamed", file, line`;
  for (const group of groups) parts.push(parquetSource(group, options));
  const all = parts.map((part) => `SELECT ${columns} FROM (${part})`).join(" UNION ALL ");

  const inGap = INDICATORS.map((name) => `${identifier(name)} BETWEEN 9007199254740992::DOUBLE AND 18446744073709549568::DOUBLE`);
  const isRounded = `CASE WHEN greatest(${INDICATORS.map(identifier).join(", ")}) > 9007199254740991::DOUBLE THEN ${inGap.join(" OR ")} ELSE false END`;
  const census = await session.rows(`SELECT date::VARCHAR, count(*), count(*) FILTER (usable), count(*) FILTER (usable AND member), count(*) FILTER (usable AND rounded)
    FROM (SELECT date, ${USABLE} AS usable, ${memberSql(plan)} AS member, ${isRounded} AS rounded FROM (${all})) GROUP BY date`);
  const counted = census.map(([date, rows, usable, members, large]) => ({ date: String(date), rows: Number(rows), usable: Number(usable), members: Number(members), large: Number(large) }));
  const rows = counted.reduce((sum, one) => sum + one.rows, 0);
  const usable = counted.reduce((sum, one) => sum + one.usable, 0);
  if (usable < rows) {
    for (const group of groups) {
      for await (const item of readParquetRows(session, group, options, "unusable")) if ("rejected" in item) yield note(item.rejected);
    }
  }
  const total = usable + refused;
  checkRejected(refused, total, first, options.maxRejectedShare);
  const source: FitSource = {
    sql: `SELECT * FROM (${all}) WHERE date <= DATE ${literal(asOf)}${usable < rows ? ` AND ${USABLE}` : ""}`,
    rowsByDate: new Map(counted.filter((one) => one.usable > 0 && one.date <= asOf).map((one) => [one.date, one.members])),
    total,
    rejected: { count: refused, reasons },
    counts: { afterAsOf: counted.filter(({ date }) => date > asOf).reduce((sum, one) => sum + one.usable, 0), duplicates: 0, precisionLoss: counted.reduce((sum, one) => sum + one.large, 0) },
    extraColumns,
  };
  if (options.duplicates !== "error") await dropDuplicates(session, source, files, plan);
  return source;
}

/** Leaves the first or last row of each drama's date, by file and line. */
async function dropDuplicates(session: Session, source: FitSource, files: readonly string[], plan: FitPlan): Promise<void> {
  const order = plan.options.duplicates === "first" ? "ASC" : "DESC";
  const place = `list_position([${files.map(literal).join(", ")}], file)`;
  await session.run(`CREATE TABLE repeated AS WITH twice AS (SELECT "dramaId", date FROM (${source.sql}) GROUP BY "dramaId", date HAVING count(*) > 1)
    SELECT file, line, date, ${memberSql(plan)} AS "isMember" FROM (${source.sql}) SEMI JOIN twice USING ("dramaId", date) QUALIFY row_number() OVER (PARTITION BY "dramaId", date ORDER BY ${place} ${order}, line ${order}) > 1`);
  for (const [date, rows, members] of await session.rows(`SELECT date::VARCHAR, count(*), count(*) FILTER ("isMember") FROM repeated GROUP BY date`)) {
    source.counts.duplicates += Number(rows);
    source.rowsByDate.set(String(date), source.rowsByDate.get(String(date))! - Number(members));
  }
  if (source.counts.duplicates > 0) source.sql = `SELECT * FROM (${source.sql}) ANTI JOIN repeated USING (file, line)`;
}
