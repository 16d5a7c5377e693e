import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { takeLock } from "@dramascope/schema";
import { beforeEach, expect, it } from "vitest";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-lock-"));
  path = join(folder, "a.lock");
});

it("a lock names its process and goes when it is given back", async () => {
  const taken = takeLock(path);
  expect(await readFile(path, "utf8")).toBe(`${process.pid} ${hostname()}`);
  if ("release" in taken) taken.release();
  expect(await readdir(folder)).toEqual([]);
});

it("a living process of this machine keeps its lock", async () => {
  await writeFile(path, `${process.ppid} ${hostname()}`);
  expect(takeLock(path)).toEqual({ holder: process.ppid });
  expect(await readdir(folder)).toEqual(["a.lock"]);
});

it.each([
  ["of a process that is gone", `999999999 ${hostname()}`],
  ["of another machine", `${process.ppid} elsewhere`],
  ["of this process", `${process.pid} ${hostname()}`],
  ["that is empty", ""],
  ["that is no lock", `-1 ${hostname()}`],
])("a lock %s counts for nothing", async (_whose, text) => {
  await writeFile(path, text);
  expect(takeLock(path)).toHaveProperty("release");
  expect(await readFile(path, "utf8")).toBe(`${process.pid} ${hostname()}`);
});

it("a folder that is not there is an error", () => {
  expect(() => takeLock(join(folder, "nowhere", "a.lock"))).toThrow("ENOENT");
});
