import { readFileSync } from "node:fs";
import { expect } from "vitest";

/** A golden file. */
export const golden = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../../../test-fixtures/goldens/evaluation/${name}`, import.meta.url), "utf8")) as T;

/** An error with this code. */
export const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;

/** Numbers anywhere in two structures agree to 1e-9 relative, everything else exactly. */
export function agree(actual: unknown, expected: unknown, where = "", tolerance = 1e-9): void {
  if (typeof expected === "number" && typeof actual === "number") expect(Math.abs(actual - expected), where).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(expected)));
  else if (typeof expected === "object" && expected !== null) for (const [key, value] of Object.entries(expected)) agree((actual as Record<string, unknown>)[key], value, `${where}.${key}`, tolerance);
  else expect(actual, where).toEqual(expected);
}
