import { settingNames } from "@dramascope/schema";
import { expect, it } from "vitest";
import { z } from "zod";

const schema = z.strictObject({
  group: z.strictObject({ a: z.int().default(1), b: z.string().optional() }).refine(() => true).prefault({}),
  list: z.array(z.strictObject({ c: z.int() })).min(1).optional(),
  forms: z.discriminatedUnion("kind", [z.strictObject({ kind: z.literal("x"), path: z.string() }), z.strictObject({ kind: z.literal("y"), url: z.string() })]).nullable(),
  plain: z.string(),
});

it.each([
  [[], ["group", "list", "forms", "plain"]],
  [["group"], ["a", "b"]],
  [["list", 0], ["c"]],
  [["list"], []],
  [["forms"], ["kind", "path", "url"]],
  [["plain"], []],
  [["none"], []],
  [["constructor"], []],
  [["__proto__", "x"], []],
])("below %j stand %j", (path, names) => {
  expect(settingNames(schema, path)).toEqual(names);
});
