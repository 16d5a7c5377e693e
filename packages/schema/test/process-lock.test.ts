import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { takeLock } from "@dramascope/schema";
import { beforeEach, expect, it, vi } from "vitest";

/** Error code that links fail with. */
const links = vi.hoisted(() => ({ fail: undefined as string | undefined }));
vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  const linkSync: typeof fs.linkSync = (from, to) => {
    if (links.fail !== undefined) throw Object.assign(new Error(`${links.fail}: no links`), { code: links.fail });
    fs.linkSync(from, to);
  };
  return { ...fs, linkSync };
});

let folder: string;
let path: string;
beforeEach(async () => {
  links.fail = undefined;
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

it("a lock that cannot be read is an error, not a free one", async () => {
  await mkdir(path);
  expect(() => takeLock(path)).toThrow(expect.objectContaining({ code: "LOCK_FAILED", message: expect.stringContaining("EISDIR") as string, hint: expect.any(String) as string }));
  expect(await readdir(folder)).toEqual(["a.lock"]);
});

it("giving back leaves a lock that is another's by then", async () => {
  const taken = takeLock(path);
  await writeFile(path, `${process.ppid} ${hostname()}`);
  if ("release" in taken) taken.release();
  expect(takeLock(path)).toEqual({ holder: process.ppid });
});

it.each(["EPERM", "ENOTSUP", "EOPNOTSUPP"])("a file system that answers %s to links locks all the same", async (code) => {
  links.fail = code;
  await writeFile(path, `999999999 ${hostname()}`);
  const taken = takeLock(path);
  expect(await readFile(path, "utf8")).toBe(`${process.pid} ${hostname()}`);
  if ("release" in taken) taken.release();
  expect(await readdir(folder)).toEqual([]);
  await writeFile(path, `${process.ppid} ${hostname()}`);
  expect(takeLock(path)).toEqual({ holder: process.ppid });
});

it.each([[""], [".takeover"]])("of three processes that meet the stale locks %j one takes it over", async (also) => {
  const contender = fileURLToPath(new URL("lock-contender.ts", import.meta.url));
  const children = Array.from({ length: 3 }, () => fork(contender, [], { execArgv: ["--conditions=@dramascope/source"] }));
  try {
    await Promise.all(children.map((child) => once(child, "message")));
    const holders: number[] = [];
    for (let round = 0; round < 60; round++) {
      const file = join(folder, `${round}.lock`);
      for (const suffix of ["", also]) await writeFile(`${file}${suffix}`, `999999999 ${hostname()}`);
      const answers = children.map((child) => once(child, "message"));
      const at = Date.now() + 3;
      for (const child of children) child.send({ path: file, at });
      holders.push((await Promise.all(answers)).flat().filter((isHolder) => isHolder === true).length);
    }
    expect(holders).toEqual(holders.map(() => 1));
    expect((await readdir(folder)).filter((name) => !name.endsWith(".lock"))).toEqual([]);
  } finally {
    for (const child of children) child.kill();
  }
}, 30_000);
