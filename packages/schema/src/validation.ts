import type { z } from "zod";
import { DataError } from "./errors.ts";

/** Longest text of one problem, which may name all keys of a wrong file. */
const MAX_PROBLEM_LENGTH = 200;

const cut = (text: string): string => (text.length > MAX_PROBLEM_LENGTH ? `${text.slice(0, MAX_PROBLEM_LENGTH)}…` : text);

/** A key that reads like a field's name; others may be what people wrote. */
const isFieldName = (key: string): boolean => /^\w{1,40}$/u.test(key) && !/\d{5}/u.test(key);

/**
 * What a failed check found, in one sentence: `field: problem; field: problem`; at most five, each cut to 200 characters.
 *
 * @param keys `hidden`: keys of the value that are no names of fields are not repeated, for values that strangers wrote. Default `named`.
 */
export function describeIssues(error: z.ZodError, keys: "named" | "hidden" = "named"): string {
  const isShown = (key: PropertyKey): boolean => keys === "named" || typeof key !== "string" || isFieldName(key);
  return error.issues
    .slice(0, 5)
    .map((issue) => {
      const where = issue.path.map((key) => (isShown(key) ? String(key) : "…")).join(".");
      const message = issue.code === "unrecognized_keys" && !issue.keys.every(isShown) ? "Unrecognized keys" : issue.message;
      return cut(where === "" ? message : `${where}: ${message}`);
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
