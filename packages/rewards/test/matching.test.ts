import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { maxWeightMatching } from "@dramascope/rewards";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

type Matrix = readonly (readonly number[])[];

const transposed = (matrix: Matrix): number[][] => matrix[0]!.map((_, column) => matrix.map((row) => row[column]!));

/** Largest sum over all ways to give each row its own column; rows are not more than columns. */
function bruteForce(matrix: Matrix, row = 0, taken = 0): number {
  if (row === matrix.length) return 0;
  let best = -Infinity;
  matrix[row]!.forEach((value, column) => {
    if ((taken & (1 << column)) === 0) best = Math.max(best, value + bruteForce(matrix, row + 1, taken | (1 << column)));
  });
  return best;
}

const SOLVERS = ["shortest-path", "munkres-js"] as const;

const reward = fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 0.25, 0.5, 1));
const anyNumber = fc.oneof(reward, fc.double({ min: -100, max: 100, noNaN: true }));
const matrices = (largest: number, value: fc.Arbitrary<number>): fc.Arbitrary<number[][]> =>
  fc.tuple(fc.integer({ min: 1, max: largest }), fc.integer({ min: 1, max: largest })).chain(([height, width]) => fc.array(fc.array(value, { minLength: width, maxLength: width }), { minLength: height, maxLength: height }));

describe("maxWeightMatching", () => {
  it.each(SOLVERS)("finds by %s what trying everything finds, to 7 x 7", (solver) => {
    fc.assert(
      fc.property(matrices(7, anyNumber), (matrix) => {
        const { pairs, sum } = maxWeightMatching(matrix, { solver });
        expect(Math.abs(sum - bruteForce(matrix.length <= matrix[0]!.length ? matrix : transposed(matrix)))).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(sum)));
        expect(pairs).toHaveLength(Math.min(matrix.length, matrix[0]!.length));
        expect(pairs.map(([row]) => row)).toEqual([...new Set(pairs.map(([row]) => row))].sort((a, b) => a - b));
        expect(new Set(pairs.map(([, column]) => column)).size).toBe(pairs.length);
      }),
      { numRuns: 300 },
    );
  });

  it("has the same sums by both solvers on matrices of rewards", () => {
    fc.assert(
      fc.property(matrices(24, reward), (matrix) => {
        expect(Math.abs(maxWeightMatching(matrix).sum - maxWeightMatching(matrix, { solver: "munkres-js" }).sum)).toBeLessThanOrEqual(1e-12);
      }),
      { numRuns: 300 },
    );
  });

  it("does not depend on the order of rows and columns, or which of them are rows", () => {
    fc.assert(
      fc.property(matrices(9, reward), (matrix) => {
        const { sum } = maxWeightMatching(matrix);
        expect(maxWeightMatching(matrix.toReversed()).sum).toBeCloseTo(sum, 12);
        expect(maxWeightMatching(matrix.map((row) => row.toReversed())).sum).toBeCloseTo(sum, 12);
        expect(maxWeightMatching(transposed(matrix)).sum).toBeCloseTo(sum, 12);
        expect(maxWeightMatching(matrix)).toEqual(maxWeightMatching(structuredClone(matrix)));
      }),
    );
  });

  it.each(SOLVERS)("leaves out rows and columns that cannot matter for %s", (solver) => {
    const long = Array.from({ length: 2000 }, (_, i) => [i, 0, 1]);
    expect(maxWeightMatching(long, { solver }).sum).toBe(2000);
    expect(maxWeightMatching(transposed(long), { solver }).sum).toBe(2000);
    expect(maxWeightMatching([long.map(([first]) => first!)], { solver })).toEqual({ pairs: [[0, 1999]], sum: 1999 });
  });

  it("solves 512 x 512 and refuses 513 x 513", () => {
    const square = (side: number): number[][] => Array.from({ length: side }, (_, i) => Array.from({ length: side }, (_unused, j) => ((i * 7919 + j * 104_729) % 1009) / 1009));
    const { sum } = maxWeightMatching(square(512));
    expect(sum).toBeGreaterThan(500);
    expect(maxWeightMatching(square(512).toReversed()).sum).toBeCloseTo(sum, 9);
    expect(() => maxWeightMatching(square(513))).toThrow(expect.objectContaining({ code: "TOO_LARGE" }) as Error);
  });

  it("ends at once with a code for each broken matrix", () => {
    const code = `
      import { maxWeightMatching } from "@dramascope/rewards";
      const hole = [1, 2]; delete hole[1];
      const broken = [[[1, NaN]], [[1, Infinity]], [[-Infinity, 1]], [[1, undefined]], [hole], [[1, "2"]], [[1, null]], [[1, 2], [1]], [[], [1]], [[1], ,], [[2e15]], [[-1e308, 1e308]]];
      console.log(broken.map((matrix) => { try { return maxWeightMatching(matrix).sum; } catch (error) { return error.code; } }).join(" "));`;
    const output = execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module", "-e", code], { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8", timeout: 20_000 });
    expect(output.trim()).toBe("NOT_FINITE NOT_FINITE NOT_FINITE NOT_FINITE NOT_FINITE NOT_FINITE NOT_FINITE RAGGED RAGGED RAGGED OUT_OF_RANGE OUT_OF_RANGE");
  });
});
