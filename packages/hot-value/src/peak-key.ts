import type { DuckDBVector } from "@duckdb/node-api";
import { INDICATORS, SCORE_NAMES } from "./indicators.ts";
import type { BatchScorer } from "./score-batch.ts";
import type { Session } from "./session.ts";
import { daysOf, doublesOf, flush, integersOf, wideOf } from "./vectors.ts";

const HIGH = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 1 : 0;

/**
 * Registers the SQL functions `peak_key(eight counts, completion rate, date)`: an unsigned 128-bit number whose upper half orders as the hot
 * value does and whose lower half falls with the date, so that the maximum of a drama's keys is its peak and, among equal ones, the earliest day.
 * Scoring runs on column buffers, faster than the same formula in SQL, and in the one implementation there is.
 */
export async function registerPeakKey(session: Session, scorer: BatchScorer, { first, index }: { first: number; index: Int32Array }): Promise<void> {
  const { DATE, DOUBLE, DuckDBScalarFunction, UHUGEINT } = await import("@duckdb/node-api");
  let room = 0;
  let [cohorts, out] = [new Int32Array(0), new Float64Array(0)];
  const peakKey = DuckDBScalarFunction.create({
    name: "peak_key",
    parameterTypes: [...SCORE_NAMES.map(() => DOUBLE), DATE],
    returnType: UHUGEINT,
    mainFunction: (_info, input, output) => {
      const length = input.rowCount;
      if (length > room) [room, cohorts, out] = [length, new Int32Array(length), new Float64Array(length)];
      const days = integersOf(input, SCORE_NAMES.length);
      for (let i = 0; i < length; i++) cohorts[i] = index[days[i]! - first]!;
      scorer.score(SCORE_NAMES.map((_, k) => doublesOf(input, k)), cohorts, length, out);
      const bits = new Uint32Array(out.buffer);
      const view = wideOf(output);
      const keys = new Uint32Array(view.buffer, view.byteOffset, 4 * length);
      for (let i = 0; i < length; i++) {
        const high = bits[2 * i + HIGH]!;
        const flip = high >>> 31 === 1 ? 0xffffffff : 0; // negative values order backwards
        keys[4 * i + 3] = flip === 0 ? high | 0x80000000 : ~high;
        keys[4 * i + 2] = bits[2 * i + 1 - HIGH]! ^ flip;
        keys[4 * i + 1] = 0;
        keys[4 * i] = 0xffffffff - (days[i]! + 0x80000000);
      }
      flush(output);
    },
  });
  const peakDate = DuckDBScalarFunction.create({
    name: "peak_date",
    parameterTypes: [UHUGEINT],
    returnType: DATE,
    mainFunction: (_info, input, output) => {
      const keys = wideOf(input.getColumnVector(0));
      const items = daysOf(output);
      for (let i = 0; i < input.rowCount; i++) items[i] = 0xffffffff - keys.getUint32(16 * i, true) - 0x80000000;
      flush(output);
    },
  });
  for (const made of [peakKey, peakDate]) {
    session.connection.registerScalarFunction(made);
    session.onClose(() => made.destroySync());
  }
}

/** Hot values in a vector of keys, NaN where there is none. */
export function hotValuesOf(vector: DuckDBVector, length: number): Float64Array {
  const dataView = wideOf(vector);
  const out = new Float64Array(length);
  const bits = new Uint32Array(out.buffer);
  for (let i = 0; i < length; i++) {
    const high = dataView.getUint32(16 * i + 12, true);
    const isNegative = high >>> 31 === 0;
    bits[2 * i + HIGH] = isNegative ? ~high : high & 0x7fffffff;
    bits[2 * i + 1 - HIGH] = dataView.getUint32(16 * i + 8, true) ^ (isNegative ? 0xffffffff : 0);
    if (vector.getItem(i) === null) out[i] = Number.NaN;
  }
  return out;
}

/** The eight columns in SQL. */
export const EIGHT = INDICATORS.map((name) => `"${name}"`).join(", ");
