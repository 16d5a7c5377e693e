import { describe, expect, it } from "vitest";
import { describedSchema, settingsTable } from "../settings-docs.ts";

const source = `
const inner = z.strictObject({
  /** Of every
   *  item | part. */
  size: z.int().default(3),
});
export const all = z.strictObject({
  /** Several. */
  items: z.array(inner).min(1),
  /** Where it lies. */
  place: z.discriminatedUnion("driver", [z.strictObject({
    driver: z.literal("file"),
    /** A file. */
    path: z.string(),
  }), z.strictObject({ driver: z.literal("server") })]).optional(),
  group: z.strictObject({
    /** See {@link all}. */
    mode: z.enum(["a", "b"]).default("a"),
  }).prefault({}),
});`;
const all = {
  properties: {
    items: { type: "array", items: { type: "object", properties: { size: { type: "integer", default: 3 } } } },
    place: { oneOf: [{ properties: { driver: { const: "file" }, path: { type: "string" } }, required: ["driver", "path"] }, { properties: { driver: { const: "server" } }, required: ["driver"] }] },
    group: { default: {}, type: "object", properties: { mode: { default: "a", type: "string", enum: ["a", "b"] } } },
  },
  required: ["items"],
};

describe("settings for people and editors", () => {
  it("carry the comments of their source", () => {
    const { properties } = describedSchema(all, source, "all");
    expect(properties!["items"]).toMatchObject({ description: "Several.", items: { properties: { size: { description: "Of every item | part.", default: 3 } } } });
    expect(properties!["place"]!.oneOf![0]!.properties!["path"]!.description).toBe("A file.");
    expect(properties!["group"]!.properties!["mode"]!.description).toBe("See all.");
  });

  it("stand in a table", () => {
    expect(settingsTable(describedSchema(all, source, "all")).split("\n").filter((line) => line.startsWith("| `"))).toEqual([
      "| `items` | needed | Several. |",
      "| `items[].size` | `3` | Of every item \\| part. |",
      "| `place` |  | Where it lies. |",
      "| `place.driver` | needed | `file` or `server` |",
      "| `place.path` | needed | A file. |",
      '| `group.mode` | `"a"` | See all. One of `a`, `b`. |',
    ]);
  });
});
