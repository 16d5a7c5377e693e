// eslint-disable-next-line @typescript-eslint/triple-slash-reference -- the package has no types; users of the source need these as well
/// <reference path="./munkres-js.d.ts" />
import munkres from "munkres-js";
import { assignRows } from "./assignment.ts";
import { RewardError } from "./errors.ts";

/** A matching of rows with columns. */
export interface Matching {
  /** [row, column], by row; as many as the shorter side. */
  pairs: [row: number, column: number][];
  /** Sum of the matched values. */
  sum: number;
}

/**
 * What finds the matching. `shortest-path`: shortest augmenting paths. `munkres-js`: the Hungarian method of that package, with equal sums;
 * on matrices of rewards it takes 3 to 12 times as long at 10 × 20 and more than 100 times at 300 × 300, and is ahead only where all values of a
 * large matrix are equal.
 */
export type MatchingSolver = "shortest-path" | "munkres-js";

/** Options of {@link maxWeightMatching}. */
export interface MatchingOptions {
  /** Default `shortest-path`. */
  solver?: MatchingSolver;
}

/** Longest side that is solved; 512 × 512 takes some 20 ms. */
const MAX_SIDE = 512;
const MAX_VALUE = 1e15;

function refuse(code: string, message: string): never {
  throw new RewardError(message, { code, hint: "Give a rectangular matrix of finite numbers." });
}

/** Counted loops: `forEach` passes over the holes of an array. */
function check(matrix: readonly (readonly number[] | undefined)[]): void {
  const width = matrix[0]?.length ?? 0;
  for (let i = 0; i < matrix.length; i++) {
    const row = matrix[i];
    if (row?.length !== width) refuse("RAGGED", `row ${i} has ${row?.length ?? "no"} entries, row 0 has ${width}`);
    for (let j = 0; j < width; j++) {
      const value = row[j];
      if (typeof value !== "number" || !Number.isFinite(value)) refuse("NOT_FINITE", `entry ${i},${j} is ${String(value)}`);
      if (Math.abs(value) > MAX_VALUE) refuse("OUT_OF_RANGE", `entry ${i},${j} is ${value}, beyond ±1e15`);
    }
  }
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

/** Column of each row by munkres-js, which loops for ever on what {@link check} refuses, and whose time follows the longer side. */
function assignByMunkres(cost: Float64Array, rows: number, columns: number): Int32Array {
  let least = Infinity;
  for (const value of cost) least = Math.min(least, value);
  const columnOf = new Int32Array(rows);
  for (const [row, column] of munkres(Array.from({ length: rows }, (_, i) => Array.from(cost.subarray(i * columns, (i + 1) * columns), (value) => value - least)))) columnOf[row] = column;
  return columnOf;
}

/** Columns of rows that are not more than the columns, so that the sum is largest. */
function solve(matrix: readonly (readonly number[])[], solver: MatchingSolver): Int32Array {
  const height = matrix.length;
  const width = matrix[0]!.length;
  const isMunkres = solver === "munkres-js";
  const columns = width > (isMunkres ? height : MAX_SIDE) ? usefulRows(transpose(matrix), height) : everything(width);
  if (Math.max(height, columns.length) > MAX_SIDE) refuse("TOO_LARGE", `${height} x ${width} is too large to match: at most ${MAX_SIDE} rows or columns can stay`);
  const cost = new Float64Array(height * columns.length);
  for (let i = 0; i < height; i++) for (let k = 0; k < columns.length; k++) cost[i * columns.length + k] = -matrix[i]![columns[k]!]!;
  return (isMunkres ? assignByMunkres : assignRows)(cost, height, columns.length).map((k) => columns[k]!);
}

/**
 * Pairs rows with columns so that the sum of their values is largest.
 *
 * Optimal pairs are not unique: compare sums.
 *
 * @param matrix Rectangular, any size down to nothing; values finite, within ±1e15.
 * @throws RewardError `NOT_FINITE`, `RAGGED`, `OUT_OF_RANGE`, or `TOO_LARGE` when a side stays above 512 after rows or columns that cannot matter are left out.
 */
export function maxWeightMatching(matrix: readonly (readonly number[])[], options: MatchingOptions = {}): Matching {
  const { solver = "shortest-path" } = options;
  check(matrix);
  const height = matrix.length;
  const width = matrix[0]?.length ?? 0;
  if (height === 0 || width === 0) return { pairs: [], sum: 0 };
  const pairs =
    height <= width
      ? Array.from(solve(matrix, solver), (column, row): [number, number] => [row, column])
      : Array.from(solve(transpose(matrix), solver), (row, column): [number, number] => [row, column]).sort((a, b) => a[0] - b[0]);
  let sum = 0;
  for (const [row, column] of pairs) sum += matrix[row]![column]!;
  return { pairs, sum };
}
