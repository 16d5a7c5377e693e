import { splitDramas, type DramaRow, type SplitManifest } from "@dramascope/curation";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { golden } from "./golden.ts";

interface Golden {
  rows: DramaRow[];
  cases: { options: { seed: string; evalPerClass: number; sft: number }; expect: Pick<SplitManifest, "groups" | "assignment" | "shortfall"> }[];
}

const { rows, cases } = golden<Golden>("splits.json");
const drama = (dramaId: string, title: string, more: Partial<DramaRow> = {}): DramaRow => ({ dramaId, title, quality: 3, ...more });
const NOTHING = { seed: "a", evalPerClass: 0, sftSize: 0 };

describe("splits", () => {
  it.each(cases)("$options", ({ options: { seed, evalPerClass, sft }, expect: expected }) => {
    const { groups, assignment, shortfall, conflicts } = splitDramas(rows, { seed, evalPerClass, sftSize: sft });
    expect({ groups, assignment, shortfall }).toEqual(expected);
    expect(conflicts).toEqual([]);
  });

  it("do not depend on the order of the dramas", () => {
    const options = { seed: "a", evalPerClass: 3, sftSize: 10 };
    const first = splitDramas(rows, options);
    fc.assert(fc.property(fc.shuffledSubarray(rows, { minLength: rows.length }), (shuffled) => {
      expect(splitDramas(shuffled, options)).toEqual(first);
    }), { numRuns: 20 });
  });

  it("report what is missing and fill nothing", () => {
    expect(splitDramas([drama("a", "x")], { seed: "a", evalPerClass: 2, sftSize: 5 }).shortfall).toEqual({ 1: 2, 2: 2, 3: 1, 4: 2, 5: 2, sft: 5 });
  });

  it("refuse a drama that comes twice", () => {
    expect(() => splitDramas([drama("a", "x"), drama("a", "y")], NOTHING)).toThrow(expect.objectContaining({ code: "DRAMA_TWICE" }) as Error);
  });

  it.each([
    ["Moon Inn", "moon inn Season 2"],
    ["Moon Inn", "ＭＯＯＮ INN 第三季"],
    ["Moon Inn: Part 4", "Moon Inn"],
    ["Moon Inn II", "Moon-Inn 7"],
  ])("keep %s and %s together", (one, other) => {
    expect(splitDramas([drama("b", one), drama("a", other)], NOTHING).groups).toEqual({ a: ["a", "b"] });
  });

  it("keep dramas without a name of their own apart", () => {
    expect(Object.keys(splitDramas([drama("a", "2046"), drama("b", "第二季"), drama("c", "！")], NOTHING).groups)).toEqual(["a", "b", "c"]);
  });

  it("hold ids and titles that are names of properties, and look nothing up in a prototype", () => {
    const { assignment, groups } = splitDramas([drama("__proto__", "constructor"), drama("toString", "valueOf")], NOTHING, { assignment: JSON.parse('{"__proto__": "eval"}') as SplitManifest["assignment"] });
    expect(Object.entries(assignment)).toEqual([["__proto__", "eval"], ["toString", "grpo"]]);
    expect(Object.keys(groups)).toEqual(["__proto__", "toString"]);
    expect(Reflect.get(assignment, "hasOwnProperty")).toBeUndefined();
  });

  it("place 20,000 dramas of one franchise, and titles of 100 kB", () => {
    const many = Array.from({ length: 20_000 }, (_, i) => drama(`d${i}`, `${"1".repeat(i === 7 ? 100_000 : 1)} x${i}`, { franchiseId: "f" }));
    expect(Object.values(splitDramas(many, NOTHING).groups)[0]).toHaveLength(20_000);
  });
});

describe("a previous manifest", () => {
  it("pins what it names, whatever the seed, and takes new members of its groups along", () => {
    const first = splitDramas(rows.slice(0, 30), { seed: "a", evalPerClass: 3, sftSize: 10 });
    const second = splitDramas(rows, { seed: "b", evalPerClass: 3, sftSize: 10 }, first);
    for (const [id, split] of Object.entries(first.assignment)) expect(second.assignment[id]).toBe(split);
    for (const ids of Object.values(second.groups)) expect(new Set(ids.map((id) => second.assignment[id])).size).toBe(1);
  });

  it("is not changed by a new drama that belongs to two of its splits: it stays outside and is named", () => {
    const assignment = { m: "sft", h: "eval", z: "grpo" } as const;
    const dramas = [drama("m", "Moon"), drama("h", "Harbour"), drama("z", "Other"), drama("a", "Moon 2", { franchiseId: "f" }), drama("n", "Harbour 2", { franchiseId: "f" })];
    const split = splitDramas(dramas, { seed: "a", evalPerClass: 9, sftSize: 9 }, { assignment });
    expect(split.assignment).toEqual(assignment);
    expect(split.groups).toEqual({ m: ["m"], h: ["h"], z: ["z"] });
    expect(split.conflicts).toEqual([{ groups: ["h", "m"], splits: ["eval", "sft"], leftOut: ["a", "n"] }]);
  });

  it("counts its dramas in the quotas", () => {
    const split = splitDramas([drama("a", "x"), drama("b", "y"), drama("c", "z")], { seed: "s", evalPerClass: 1, sftSize: 1 }, { assignment: { b: "eval", c: "sft" } });
    expect(split.assignment).toEqual({ a: "grpo", b: "eval", c: "sft" });
  });
});
