import type { IndicatorRow } from "@dramascope/schema";
import { dayNumber } from "./days.ts";
import { SCORE_NAMES } from "./indicators.ts";
import { identifier, type Session } from "./session.ts";
import { flush, integersOf } from "./vectors.ts";

const CHUNK = 2048;

/** A table of checked rows that a database holds in its files. */
export interface Spill {
  /** Adds a row; `file` is the index of its file. */
  add(row: IndicatorRow, file: number, line: number): void;
  /** Ends the writing. */
  end(): void;
}

/** Opens the table `spilled`, with the columns of a source of rows. */
export async function openSpill(session: Session): Promise<Spill> {
  const { DATE, DOUBLE, DuckDBDataChunk: Chunk, INTEGER, VARCHAR } = await import("@duckdb/node-api");
  await session.run(`CREATE TABLE spilled ("dramaId" VARCHAR, date DATE, "releasedOn" DATE, ${SCORE_NAMES.map((name) => `${identifier(name)} DOUBLE`).join(", ")}, file INTEGER, line INTEGER)`);
  const appender = await session.connection.createAppender("spilled");
  const types = [VARCHAR, DATE, DATE, ...SCORE_NAMES.map(() => DOUBLE), INTEGER, INTEGER];
  const days = new Map<string, number>();
  const dayOf = (date: string): number => {
    const known = days.get(date) ?? dayNumber(date);
    if (days.size > 100_000) days.clear();
    days.set(date, known);
    return known;
  };
  let waiting: { row: IndicatorRow; file: number; line: number }[] = [];
  const write = (): void => {
    const chunk = Chunk.create(types, waiting.length);
    chunk.setColumnValues(0, waiting.map(({ row }) => row.dramaId));
    for (const [at, name] of [[1, "date"], [2, "releasedOn"]] as const) {
      const items = integersOf(chunk, at);
      waiting.forEach(({ row }, i) => (items[i] = dayOf(row[name])));
      flush(chunk.getColumnVector(at));
    }
    SCORE_NAMES.forEach((name, k) => chunk.setColumnValues(3 + k, waiting.map(({ row }) => row[name])));
    chunk.setColumnValues(12, waiting.map(({ file }) => file));
    chunk.setColumnValues(13, waiting.map(({ line }) => line));
    appender.appendDataChunk(chunk);
    waiting = [];
  };
  return {
    add(row, file, line) {
      waiting.push({ row, file, line });
      if (waiting.length === CHUNK) write();
    },
    end() {
      if (waiting.length > 0) write();
      appender.closeSync();
    },
  };
}
