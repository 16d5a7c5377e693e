// eslint-disable-next-line @typescript-eslint/triple-slash-reference -- the package has no types; users of the source need these as well
/// <reference path="./munkres-js.d.ts" />
import munkres from "munkres-js";
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

function refuse(code: string, message: string): never {
  throw new RewardError(message, { code, hint: "Give a rectangular matrix of finite numbers." });
}

function check(matrix: readonly (readonly number[])[]): void {
  const width = matrix[0]?.length ?? 0;
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

const everything = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const transpose = (matrix: readonly (readonly number[])[]): number[][] => matrix[0]!.map((_, j) => matrix.map((row) => row[j]!));

/**
 * Pairs rows with columns so that the sum of their values is largest.
 *
 * @throws RewardError `NOT_FINITE`, `RAGGED`, `OUT_OF_RANGE`, or `TOO_LARGE` when a side stays above 512 after rows or columns that cannot matter are left out.
 */
export function maxWeightMatching(matrix: readonly (readonly number[])[]): Matching {
  const height = matrix.length;
  const width = matrix[0]?.length ?? 0;
  check(matrix);
  if (height === 0 || width === 0) return { pairs: [], sum: 0 };
  const rows = height > width ? usefulRows(matrix, width) : everything(height);
  const columns = width > height ? usefulRows(transpose(matrix), height) : everything(width);
  if (Math.max(rows.length, columns.length) > MAX_SIDE) refuse("TOO_LARGE", `${height} x ${width} is too large to match: at most ${MAX_SIDE} rows or columns can stay`);
  let largest = -Infinity;
  for (const row of rows) for (const column of columns) largest = Math.max(largest, matrix[row]![column]!);
  const pairs = munkres(rows.map((row) => columns.map((column) => largest - matrix[row]![column]!)))
    .map(([row, column]): [number, number] => [rows[row]!, columns[column]!])
    .sort((a, b) => a[0] - b[0]);
  return { pairs, sum: pairs.reduce((sum, [row, column]) => sum + matrix[row]![column]!, 0) };
}
