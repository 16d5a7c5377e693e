import { spawn } from "node:child_process";
import { watch } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRandom } from "@dramascope/schema";
import { expect, it } from "vitest";

interface Kill {
  /** Milliseconds after the run's start, or after the next checkpoint begins to be written. */
  after: "start" | "save";
  milliseconds: number;
}

/** Runs test/resumable-run.ts in its own process; resolves to its exit code, null when it was killed. */
function runChild(runDir: string, kind: string, kill?: Kill): Promise<{ code: number | null; milliseconds: number }> {
  return new Promise((settle) => {
    const child = spawn(process.execPath, ["--conditions=@dramascope/source", fileURLToPath(new URL("resumable-run.ts", import.meta.url)), runDir, kind], { stdio: ["ignore", "inherit", "inherit", "ipc"], env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), "dramascope-compile-cache") } });
    let started = 0;
    const watcher = watch(runDir, (_event, name) => {
      if (kill?.after === "save" && started > 0 && name?.startsWith(".checkpoint")) setTimeout(() => child.kill("SIGKILL"), kill.milliseconds);
    });
    child.once("message", () => {
      started = performance.now();
      if (kill?.after === "start") setTimeout(() => child.kill("SIGKILL"), kill.milliseconds);
    });
    child.on("close", (code) => {
      watcher.close();
      settle({ code, milliseconds: performance.now() - started });
    });
  });
}

const TIMES = /^(?:step_time|dramascope\/(?:time\/.*|memory\/peak|reward_latency\/.*))$/u;
const logOf = async (run: string): Promise<unknown[]> => (await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n").map((line) => Object.entries(JSON.parse(line) as object).filter(([name]) => !TIMES.test(name)));

it.each([["sft", 6], ["grpo", 14]] as const)("a %s run that is killed %i times ends as one that is not, bit for bit", async (kind, kills) => {
  const base = await mkdtemp(join(tmpdir(), "dramascope-resume-"));
  const [whole, killed] = [join(base, "whole"), join(base, "killed")];
  await Promise.all([mkdir(whole), mkdir(killed)]);
  const { code, milliseconds } = await runChild(whole, kind);
  expect(code).toBe(0);
  const random = createRandom(7);
  let hits = 0;
  for (let i = 0; i < kills; i++) {
    const kill: Kill = i % 2 === 0 ? { after: "save", milliseconds: random.below(4) } : { after: "start", milliseconds: random.uniform() * (milliseconds / 6) };
    if ((await runChild(killed, kind, kill)).code === null) hits++;
  }
  expect(hits).toBeGreaterThan(kills / 2);
  expect((await runChild(killed, kind)).code).toBe(0);
  const bytes = (run: string): Promise<Buffer> => readFile(join(run, "adapter", "adapter_model.safetensors"));
  expect((await bytes(killed)).equals(await bytes(whole))).toBe(true);
  expect(await logOf(killed)).toEqual(await logOf(whole));
  if (kind === "sft") expect(await readFile(join(killed, "best"), "utf8")).toBe(await readFile(join(whole, "best"), "utf8"));
  else expect(await readFile(join(killed, "completions.jsonl"), "utf8")).toBe(await readFile(join(whole, "completions.jsonl"), "utf8"));
  expect((await readdir(killed)).filter((name) => /\.(?:tmp|old)-/u.test(name))).toEqual([]);
}, 240_000);
