import { createRequire } from "node:module";
import { RewardError } from "./errors.ts";

/** A matching of rows with columns. */
export interface Matching {
  /** [row, column], by row; as many as the shorter side. */
  pairs: [row: number, column: number][];
  /** Sum of the matched values. */
  sum: number;
}

/** munkres-js takes minutes far above this. */
const MAX_SIDE = 512;
const MAX_VALUE = 1e15;

/** The Hungarian method of munkres-js, a package without types of its own: a cost matrix to pairs. */
const munkres = createRequire(import.meta.url)("munkres-js") as (cost: number[][]) => [number, number][];

function refuse(code: string, message: string): never {
  throw new RewardError(message, { code, hint: "Give a rectangular matrix of finite numbers." });
}

function check(matrix: readonly (readonly number[])[]): void {
  const width = matrix[0]!.length;
  matrix.forEach((row, i) => {
    if (row.length !== width) refuse("RAGGED", `row ${i} has ${row.length} entries, row 0 has ${width}`);
    row.forEach((value, j) => {
      if (typeof value !== "number" || !Number.isFinite(value)) refuse("NOT_FINITE", `entry ${i},${j} is ${String(value)}`);
      if (Math.abs(value) > MAX_VALUE) refuse("OUT_OF_RANGE", `entry ${i},${j} is ${value}, beyond ±1e15`);
    });
  });
}

/** Rows worth keeping: for each column its `columns` largest. An optimum exists among them, since of those at most columns − 1 can be taken by others. */
function usefulRows(matrix: readonly (readonly number[])[], columns: number): number[] {
  const kept = new Set<number>();
  for (let column = 0; column < columns; column++) {
    const order = matrix.map((_, row) => row).sort((a, b) => matrix[b]![column]! - matrix[a]![column]! || a - b);
    for (const row of order.slice(0, columns)) kept.add(row);
  }
  return [...kept].sort((a, b) => a - b);
}

const transpose = (matrix: readonly (readonly number[])[]): number[][] => matrix[0]!.map((_, j) => matrix.map((row) => row[j]!));

/**
 * Pairs rows with columns so that the sum of their values is largest.
 *
 * @throws RewardError `NOT_FINITE`, `RAGGED`, `OUT_OF_RANGE`, or `TOO_LARGE` when both sides stay above 512.
 */
export function maxWeightMatching(matrix: readonly (readonly number[])[]): Matching {
  if (matrix.length === 0 || matrix[0]!.length === 0) return { pairs: [], sum: 0 };
  check(matrix);
  const rows = matrix.length;
  const columns = matrix[0]!.length;
  if (columns > rows) {
    const { pairs, sum } = maxWeightMatching(transpose(matrix));
    return { pairs: pairs.map(([a, b]): [number, number] => [b, a]).sort((a, b) => a[0] - b[0]), sum };
  }
  const kept = rows > columns ? usefulRows(matrix, columns) : matrix.map((_, row) => row);
  if (kept.length > MAX_SIDE) refuse("TOO_LARGE", `${rows} x ${columns} is too large to match: at most ${MAX_SIDE} rows can stay`);
  const values = kept.map((row) => matrix[row]!);
  const largest = values.reduce((max, row) => row.reduce((a, b) => Math.max(a, b), max), -Infinity);
  const pairs = munkres(values.map((row) => row.map((value) => largest - value)))
    .filter(([row, column]) => row < kept.length && column < columns)
    .map(([row, column]): [number, number] => [kept[row]!, column])
    .sort((a, b) => a[0] - b[0]);
  return { pairs, sum: pairs.reduce((sum, [row, column]) => sum + matrix[row]![column]!, 0) };
}
