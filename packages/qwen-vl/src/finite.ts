import type { Body } from "@dramascope/tensorflow";
import type { Arena } from "./arena.ts";
import type { Runtime } from "./runtime.ts";
import type { Tensor } from "./tensor-types.ts";

/** Keeps sums of finite float32 numbers finite. */
const SMALL = 2 ** -40;

/** The first of some matrices, and its first row, that hold NaN or infinity; one number for each row is read from the back end. */
export async function findNonFinite(runtime: Runtime, arena: Arena, matrices: readonly Tensor[]): Promise<{ matrix: number; row: number } | undefined> {
  const body: Body = (ops, v) => ({ sums: ops.sum(ops.mul(v["x"]!, ops.scalar(SMALL)), [1]) });
  const all = matrices.map((x) => arena.add(runtime.run("finite", { x }, body)["sums"]!));
  for (const [matrix, sums] of all.entries()) {
    const row = ((await sums.data()) as Float32Array).findIndex((sum) => !Number.isFinite(sum));
    if (row >= 0) return { matrix, row };
  }
  arena.free(...all);
  return undefined;
}
