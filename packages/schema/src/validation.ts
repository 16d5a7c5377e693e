import type { z } from "zod";
import { DataError } from "./errors.ts";

/** What a failed check found, in one sentence: `field: problem; field: problem`. */
export function describeIssues(error: z.ZodError): string {
  return error.issues
    .slice(0, 5)
    .map((issue) => {
      const where = issue.path.map(String).join(".");
      return where === "" ? issue.message : `${where}: ${issue.message}`;
    })
    .join("; ");
}

/**
 * The value, checked against a schema.
 *
 * @param what Names the value in the error, for example a file's path.
 * @throws DataError `INVALID_RECORD` naming `what` and each wrong field.
 */
export function parseRecord<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new DataError(`${what}: ${describeIssues(result.error)}`, { code: "INVALID_RECORD", hint: "Correct the named fields." });
}
