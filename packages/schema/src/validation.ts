import type { z } from "zod";
import { DataError } from "./errors.ts";

/** Longest text of one problem, which may name all keys of a wrong file. */
const MAX_PROBLEM_LENGTH = 200;

const cut = (text: string): string => (text.length > MAX_PROBLEM_LENGTH ? `${text.slice(0, MAX_PROBLEM_LENGTH)}…` : text);

/** What a failed check found, in one sentence: `field: problem; field: problem`; at most five, each cut to 200 characters. */
export function describeIssues(error: z.ZodError): string {
  return error.issues
    .slice(0, 5)
    .map((issue) => {
      const where = issue.path.map(String).join(".");
      return cut(where === "" ? issue.message : `${where}: ${issue.message}`);
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
