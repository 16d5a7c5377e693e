import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, readFile, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { curationStatus, deleteDrama, estimate, openSqliteLedger, parseCurationConfig, runCuration, type CurationConfig, type CurationConfigInput, type LabelledDrama, type RunSummary, type StepLedger } from "@dramascope/curation";
import { readJsonl, sha256 } from "@dramascope/schema";
import { startSimulator, type Simulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { callsOf, dramas, settings } from "./simulator.ts";

let teacher: Simulator;
beforeAll(async () => void (teacher = await startSimulator()));
afterAll(() => teacher.stop());

const jsonl = (rows: readonly unknown[]): string => rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row))).join("\n");
const scores = Object.fromEntries(["dailyAvgWatchTime", "dailyAvgUv", "favorites", "likes", "sixMonthWatchTime", "sixMonthUv", "comments", "search", "completionRate"].map((name) => [name, 50]));
const label = (dramaId: string, quality: number | null, modelHash = "m1"): object => ({ dramaId, hotValue: 1, quality, peakDate: "2026-01-01", scores, modelHash });
const drama = (dramaId: string, more: object = {}): object => ({ dramaId, releasedOn: "2026-01-01", episodes: [{ index: 1 }], comments: [{ text: "What a twist!", likes: 1 }], ...more });

interface Project {
  folder: string;
  config: CurationConfig;
}

/** A folder with input files. */
async function project(dramaLines: readonly unknown[], labelLines: readonly unknown[], more: Partial<CurationConfigInput> = {}): Promise<Project> {
  const folder = await mkdtemp(join(tmpdir(), "dramascope-input-"));
  await mkdir(join(folder, "media"));
  await writeFile(join(folder, "dramas.jsonl"), jsonl(dramaLines));
  await writeFile(join(folder, "labels.jsonl"), jsonl(labelLines));
  const input = { dramas: join(folder, "dramas.jsonl"), labels: join(folder, "labels.jsonl"), mediaRoots: [join(folder, "media")] };
  return { folder, config: parseCurationConfig({ ...settings(teacher.baseURL), workdir: join(folder, "work"), input, ...more }) };
}

async function withLedger<T>(folder: string, work: (ledger: StepLedger) => Promise<T>): Promise<T> {
  const ledger = openSqliteLedger(join(folder, "ledger.db"));
  try {
    return await work(ledger);
  } finally {
    await ledger.close();
  }
}

const noPictures = { loadPictures: () => Promise.resolve([]) };
const run = ({ folder, config }: Project, more: object = {}): Promise<RunSummary> => withLedger(folder, (ledger) => runCuration({ config, ledger, ...noPictures, ...more }));

describe("dramas from files", () => {
  it("are taken in, and every line that is not is named with its file, its line and the reason", async () => {
    const one = await project(
      [drama("a"), '{"dramaId": 7300000000000000002, "releasedOn": "2026-01-01", "episodes": []}', "not json", drama("a"), drama("b", { episodes: [{ index: 1, path: "gone.mp4" }] }), drama("c"), "", drama("d"), drama("e")],
      [label("a", 3), label("c", null), label("b", 2), label("d", 4), label("d", 2), { dramaId: "x" }, label("e", 5), label("e", 5)],
      { split: { evalPerClass: 0 } },
    );
    const summary = await run(one);
    expect(summary.imported).toMatchObject({ dramas: 3, splits: { sft: 3, grpo: 0, eval: 0 }, rejected: 7, withoutMedia: 0 });
    const rejected = new Map<string, string>();
    for await (const { file, line, reason } of readJsonl(summary.imported!.rejectedFile!, z.object({ file: z.string(), line: z.number(), reason: z.string() }))) rejected.set(`${file.slice(one.folder.length + 1)}:${line}`, reason);
    expect([...rejected.keys()].sort()).toEqual(["dramas.jsonl:2", "dramas.jsonl:3", "dramas.jsonl:4", "dramas.jsonl:5", "dramas.jsonl:6", "labels.jsonl:5", "labels.jsonl:6"]);
    expect(rejected.get("dramas.jsonl:2")).toContain("dramaId: Invalid input: expected string, received number");
    expect(rejected.get("dramas.jsonl:4")).toContain("the drama was given before");
    expect(rejected.get("dramas.jsonl:5")).toMatch(/^episode \d: there is no such file/u);
    expect(rejected.get("dramas.jsonl:6")).toContain("the drama has no class");
    expect(rejected.get("labels.jsonl:5")).toContain("another class");
    expect(summary.isComplete).toBe(true);
    await withLedger(one.folder, async (ledger) => expect((await ledger.drama("a"))!.drama).toMatchObject({ classCalibration: "m1" }));
  });

  it("with paths that lead out of the media roots, or to what is no plain file, are named and left out", async () => {
    const paths = ["../outside.mp4", "../../../../../../etc/hostname", "/etc/hostname", "link.mp4", "links/outside.mp4", "folder", "pipe", "\u0000"];
    const one = await project([drama("ok", { episodes: [{ index: 1, path: "ok.mp4" }] }), ...paths.map((path, i) => drama(`d${i}`, { episodes: [{ index: 1, path }] }))], [label("ok", 3), ...paths.map((_, i) => label(`d${i}`, 3))], { split: { evalPerClass: 0 } });
    const media = join(one.folder, "media");
    await writeFile(join(one.folder, "outside.mp4"), "outside");
    await writeFile(join(media, "ok.mp4"), "inside");
    await symlink(join(one.folder, "outside.mp4"), join(media, "link.mp4"));
    await symlink(one.folder, join(media, "links"));
    await mkdir(join(media, "folder"));
    execFileSync("mkfifo", [join(media, "pipe")]);
    const { imported } = await run(one);
    expect(imported).toMatchObject({ dramas: 1, rejected: paths.length });
    const lines = (await readFile(imported!.rejectedFile!, "utf8")).trim().split("\n").map((line) => JSON.parse(line) as { line: number; reason: string });
    expect(lines.map(({ line }) => line)).toEqual(paths.map((_, i) => i + 2));
    expect(lines.map(({ reason }) => /: episode 1: (.+?);|^episode 1: (.+?);/u.exec(reason)?.slice(1).find(Boolean))).toEqual([
      ...Array<string>(3).fill("the path leads out of input.mediaRoots"),
      ...Array<string>(2).fill("a link leads out of input.mediaRoots"),
      ...Array<string>(2).fill("it is no plain file"),
      "there is no such file",
    ]);
  });

  it("whose file goes between the two readings are named and left out", async () => {
    const one = await project(["a", "b"].map((id) => drama(id, { episodes: [{ index: 1, path: `${id}.mp4` }] })), [label("a", 3), label("b", 3)], { split: { evalPerClass: 0 } });
    for (const id of ["a", "b"]) await writeFile(join(one.folder, "media", `${id}.mp4`), id);
    const onProgress = ({ phase, done }: { phase: string; done: number }): void => {
      if (phase === "read" && done === 2) rmSync(join(one.folder, "media", "a.mp4"));
    };
    const { imported } = await run(one, { onProgress });
    expect(imported).toMatchObject({ dramas: 1, splits: { sft: 1 }, rejected: 1 });
    expect(JSON.parse(await readFile(imported!.rejectedFile!, "utf8"))).toMatchObject({ file: one.config.input!.dramas, line: 1 });
  });

  it("with classes of two hot value models are refused", async () => {
    await expect(run(await project([drama("a")], [label("a", 3), label("b", 2, "m2")]))).rejects.toThrow(expect.objectContaining({ code: "LABELS_MIXED" }) as Error);
  });

  it("that are not there are an error that names the file", async () => {
    const one = await project([], []);
    const config = { ...one.config, input: { ...one.config.input!, dramas: join(one.folder, "nowhere.jsonl") } };
    await expect(run({ ...one, config })).rejects.toThrow(expect.objectContaining({ code: "FILE_UNREADABLE", message: expect.stringContaining("nowhere.jsonl") as string }) as Error);
  });

  it("know their episodes by content: a file is read once, and again when it has changed", async () => {
    const one = await project([drama("a", { episodes: [{ index: 2, path: "2.mp4" }, { index: 1, path: "1.mp4", durationSeconds: 60 }, { index: 3, url: "https://x.example/3.mp4", sha256: "b".repeat(64) }] })], [label("a", 3)], { split: { evalPerClass: 0 } });
    const file = (name: string): string => join(one.folder, "media", name);
    await writeFile(file("1.mp4"), "one");
    await writeFile(file("2.mp4"), "two");
    const first = await run(one);
    const episodes = (): Promise<unknown[]> => withLedger(one.folder, async (ledger) => (await ledger.drama("a"))!.drama.episodes.map((episode) => episode.sha256));
    expect(await episodes()).toEqual([sha256("one"), sha256("two"), "b".repeat(64)]);
    expect(first.imported!.withoutMedia).toBe(0);
    // Same size and time: nobody looks inside.
    const then = new Date(1_700_000_000_000);
    await utimes(file("1.mp4"), then, then);
    await run(one);
    await writeFile(file("1.mp4"), "eno");
    await utimes(file("1.mp4"), then, then);
    expect((await run(one)).calls).toBe(0);
    await writeFile(file("1.mp4"), "changed");
    const changed = await run(one);
    expect(await episodes()).toEqual([sha256("changed"), sha256("two"), "b".repeat(64)]);
    expect([changed.calls > 0, changed.calls < first.calls]).toEqual([true, true]);
  });

  it("stay in their split when others join them", async () => {
    const ids = Array.from({ length: 12 }, (_, i) => `d${i}`);
    const labels = ids.map((id) => label(id, 3));
    const split = { seed: "s", evalPerClass: 2, sftSize: 4 };
    const one = await project(ids.slice(0, 8).map((id) => drama(id)), labels, { split });
    await run(one, { limit: 0 });
    const places = (): Promise<Map<string, string>> =>
      withLedger(one.folder, async (ledger) => {
        const found = new Map<string, string>();
        for await (const record of ledger.dramas()) found.set(record.dramaId, record.split);
        return found;
      });
    const before = await places();
    await writeFile(join(one.folder, "dramas.jsonl"), jsonl(ids.map((id) => drama(id))));
    await run({ ...one, config: { ...one.config, split: { ...one.config.split, evalPerClass: 3 } } }, { limit: 0 });
    const after = await places();
    expect(after.size).toBe(12);
    for (const [id, place] of before) expect([id, after.get(id)]).toEqual([id, place]);
  });
});

describe("an estimate", () => {
  it("asks nobody, writes nothing, and lies around what a run takes", async () => {
    const before = teacher.requests();
    const folder = await mkdtemp(join(tmpdir(), "dramascope-estimate-"));
    const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: join(folder, "work") });
    const plan = await estimate({ config, dramas: dramas(60) });
    expect(plan).toMatchObject({ dramas: { sft: 18, grpo: 37, eval: 5 }, currency: "USD", budget: null, rejected: 0, withoutMedia: 60 });
    expect(plan.stages.caption.calls).toEqual({ low: 55, expected: 55, high: 55 });
    expect(plan.stages.sample.calls).toMatchObject({ low: 18, high: 72 });
    for (const figure of ["calls", "promptTokens", "completionTokens", "cost"] as const) {
      expect(plan.total[figure].low).toBeLessThan(plan.total[figure].expected);
      expect(plan.total[figure].expected).toBeLessThan(plan.total[figure].high);
    }
    expect(teacher.requests()).toBe(before);
    await expect(readFile(join(folder, "work"))).rejects.toThrow("ENOENT");
    await withLedger(folder, async (ledger) => {
      const summary = await runCuration({ config, dramas: dramas(60), ledger });
      expect(summary.calls).toBeGreaterThanOrEqual(plan.total.calls.low);
      expect(summary.calls).toBeLessThanOrEqual(plan.total.calls.high);
      expect(summary.cost).toBeLessThanOrEqual(plan.total.cost.high);
      expect((await estimate({ config, dramas: dramas(60), ledger })).total.calls.high).toBe(0);
    });
  });

  it("counts only what it is asked about", async () => {
    const config = parseCurationConfig(settings(teacher.baseURL));
    const plan = await estimate({ config, dramas: dramas(60), limit: 10, stages: ["caption"] });
    expect([plan.total.calls.high, plan.stages.comments.calls.high]).toEqual([10, 0]);
  });

  it("is refused for a budget that nothing counts against", async () => {
    const { teacher: { prices: _prices, ...free }, ...rest } = settings(teacher.baseURL);
    const config = parseCurationConfig({ ...rest, teacher: free, budget: { maxCost: 1 } });
    await expect(estimate({ config, dramas: [] })).rejects.toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }) as Error);
    await expect(runCuration({ config, dramas: [] })).rejects.toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }) as Error);
  });
});

describe("a status", () => {
  it("says how a curation stands, also before it began", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-status-"));
    const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder });
    await withLedger(folder, async (ledger) => {
      expect(await curationStatus(ledger, config)).toMatchObject({ generation: null, open: 0, failed: 0, parked: 0, currency: "USD", budget: null });
      const { runId, counts } = await runCuration({ config, dramas: dramas(10), ledger });
      expect(await curationStatus(ledger, config)).toMatchObject({ generation: 1, runId, counts, open: 0, spending: { unknown: 0 } });
    });
  });
});

describe("a drama that is deleted", () => {
  it("leaves neither rows nor frames", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-delete-"));
    const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder, split: { evalPerClass: 0 } });
    const list = dramas(4);
    const id = list[1]!.drama.dramaId;
    await mkdir(join(folder, "frames", id, "x"), { recursive: true });
    await withLedger(folder, async (ledger) => {
      await runCuration({ config, dramas: list, ledger });
      expect(await deleteDrama(ledger, id, config)).toBeGreaterThan(2);
      expect(await ledger.drama(id)).toBeUndefined();
    });
    await expect(readFile(join(folder, "frames", id))).rejects.toThrow("ENOENT");
    expect(await readFile(join(folder, "ledger.db"), "latin1")).not.toContain(id);
  });
});

describe("dramas from a program", () => {
  it("may come once only, one after the other", async () => {
    async function* stream(): AsyncGenerator<LabelledDrama> {
      for (const one of dramas(6)) yield await Promise.resolve(one);
    }
    const folder = await mkdtemp(join(tmpdir(), "dramascope-stream-"));
    const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder });
    const before = callsOf(teacher.journal).length;
    await withLedger(folder, async (ledger) => {
      expect((await runCuration({ config, dramas: stream(), ledger })).imported).toMatchObject({ dramas: 6, rejected: 0 });
      const again = await runCuration({ config, ledger });
      expect(again).toMatchObject({ imported: null, calls: 0, isComplete: true });
      const twice = await runCuration({ config, dramas: [...dramas(2), ...dramas(1)], ledger });
      expect(twice.imported).toMatchObject({ dramas: 2, rejected: 1, rejectedFile: join(folder, "rejected.jsonl") });
    });
    expect(callsOf(teacher.journal).length).toBeGreaterThan(before);
  });
});
