import { readdir } from "node:fs/promises";
import { dirname } from "node:path";
import { createRandom } from "@dramascope/schema";
import { describe, expect, it } from "vitest";
import { hub, hubForEach, out, pull, withCode } from "./pull-hub.ts";

type Entry = Record<string, unknown>;

hubForEach();

describe("a hostile listing", () => {
  const file = (path: unknown, more: Entry = {}): Entry => ({ type: "file", path, size: 3, oid: "0".repeat(40), ...more });
  const CONFIG = "config.json";
  const change = (name: string, more: Entry) => (entries: Entry[]): Entry[] => entries.map((entry) => (entry["path"] === name ? { ...entry, ...more } : entry));
  const add = (entry: unknown) => (entries: Entry[]): unknown[] => [...entries, entry];
  const without = (pattern: RegExp) => (entries: Entry[]): Entry[] => entries.filter(({ path }) => !pattern.test(path as string));

  it.each<[string, (entries: Entry[]) => unknown[]]>([
    ["a path upwards", add(file("../config.json"))],
    ["a path upwards inside", add(file("figures/../../x.json"))],
    ["a path from the root", add(file("/etc/config.json"))],
    ["a drive", add(file("C:config.json"))],
    ["a backslash", add(file("..\\config.json"))],
    ["a NUL", add(file("config.json\0.txt"))],
    ["a line break", add(file("config\n.json"))],
    ["an empty name", add(file(""))],
    ["a name that is none", add(file(7))],
    ["an endless name", add(file("x".repeat(5000)))],
    ["an entry that is none", add(null)],
    ["a name twice", add(file(CONFIG))],
    ["a negative size", change(CONFIG, { size: -1 })],
    ["half a byte", change(CONFIG, { size: 0.5 })],
    ["a size beyond all", change(CONFIG, { size: 1e300 })],
    ["a size in words", change(CONFIG, { size: "12" })],
    ["a huge small file", change("tokenizer.json", { size: 2 ** 40 })],
    ["no hash", change(CONFIG, { oid: undefined })],
    ["a hash of another kind", change(CONFIG, { oid: "../../x" })],
    ["a large file without its hash", change("model-00001-of-00004.safetensors", { lfs: { size: 5 } })],
    ["a missing shard", without(/00003-of/u)],
    ["no configuration", without(/^config/u)],
    ["no tokenizer", without(/^tokenizer\.json/u)],
    ["no weights", without(/safetensors/u)],
    ["only weights that could run", (entries) => without(/safetensors/u)(entries).concat(file("pytorch_model.bin"))],
  ])("with %s is refused and nothing is written", async (_, changeListing) => {
    hub.changeListing = changeListing;
    await expect(pull()).rejects.toThrow(withCode("PULL_LISTING"));
    expect(await readdir(dirname(out))).toEqual([]);
  });

  it("without end is refused", async () => {
    hub.changeListing = (entries) => Array.from({ length: 5000 }, (_, i) => file(`note-${i}.txt`)).concat(entries);
    await expect(pull()).rejects.toThrow(withCode("PULL_LISTING"));
  });

  it("never makes a file that was not asked for, whatever its names", async () => {
    const random = createRandom(3);
    const pieces = ["config", ".json", ".py", ".bin", "model", ".safetensors", "-00001-of-00004", "__proto__", "constructor", "..x", "~", "%2e%2e", "con", "ü", " ", "tokenizer", "$(x)", ".part", "pulled.json"];
    hub.changeListing = (entries) => {
      const names = new Set(Array.from({ length: 150 }, () => Array.from({ length: 1 + random.below(3) }, () => pieces[random.below(pieces.length)]!).join("")));
      for (const { path } of entries) names.delete(path as string);
      return [...entries, ...[...names].filter((name) => name !== "model.safetensors").map((name) => file(name))];
    };
    await pull();
    expect((await readdir(out)).every((name) => name === "pulled.json" || hub.files.has(name))).toBe(true);
    expect(await readdir(dirname(out))).toEqual(["tiny-vl"]);
  });
});
