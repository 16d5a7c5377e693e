import { nearestName } from "@dramascope/schema";
import { expect, it } from "vitest";

it.each([
  ["modle", ["baseURL", "model", "media"], "model"],
  ["maxcost", ["maxCost", "minCost"], "maxCost"],
  ["rank", ["r", "alpha"], "r"],
  ["ab", ["ax", "ay"], "ax"],
  ["", ["long", "a"], "a"],
  ["x".repeat(300), ["y", "x"], "x"],
  ["__proto__", ["proto"], "proto"],
])("the name nearest to %j", (given, known, nearest) => {
  expect(nearestName(given, known)).toBe(nearest);
});

it("is none where none is known", () => {
  expect(nearestName("a", [])).toBeUndefined();
});
