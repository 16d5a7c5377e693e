import { mkdir, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { createRandom } from "@dramascope/schema";
import { findFfmpeg } from "@dramascope/video";
import { filmDrama } from "@dramascope/test-fixtures/world/mp4.ts";
import { drawDrama } from "@dramascope/test-fixtures/world/latent.ts";
import { startWorldTeacher, type WorldTeacher } from "@dramascope/test-fixtures/world/teacher.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fixture, start } from "./cli.ts";

const COUNT = 8;
let folder: string;
let teacher: WorldTeacher;

/** A project as a data team has it: dramas with films, labels, settings. */
async function writeProject(name: string): Promise<string> {
  const project = join(folder, name);
  const curate = {
    input: { dramas: "../dramas.jsonl", labels: "../labels.jsonl" }, workdir: name, frames: { maxPairTokens: 6, minFrameTokens: 6, floorPairTokens: 6 },
    teacher: { baseURL: teacher.baseURL, model: "world-teacher", capabilities: { metadata: true }, limits: { inFlight: 4 }, maxTokens: 512 },
    split: { evalPerClass: 0, sftSize: 4 }, rounds: { max: 12, perClassMax: {} }, comments: { answerComments: 3 }, prompts: { dir: fixture("world/prompts") }, export: { sftFormat: "tags" },
  };
  await mkdir(project, { recursive: true });
  await writeFile(join(project, "dramascope.yaml"), JSON.stringify(curate));
  const common = { model: fixture("models/demo-base"), saveSteps: 2, lora: { r: 4, alpha: 8 }, learningRate: 1e-3 };
  await writeFile(join(project, "sft.yaml"), JSON.stringify({ ...common, data: `${name}/export/sft.jsonl`, runDir: "sft", epochs: 6, batchSize: 2 }));
  await writeFile(join(project, "grpo.yaml"), JSON.stringify({ ...common, data: `${name}/export/grpo.jsonl`, runDir: "grpo", adapter: "sft/adapter", steps: 6, promptsPerStep: 2, numGenerations: 2, maxCompletionLength: 24, beta: 0, lossType: "dapo" }));
  return project;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-pipeline-"));
  const taught = Array.from({ length: COUNT }, (_, i) => ({ drama: drawDrama(i, { seed: 1, createRandom }).drama, quality: 1 + (i % 5) }));
  teacher = await startWorldTeacher(taught);
  const { path } = await findFfmpeg();
  const scores = Object.fromEntries(["dailyAvgWatchTime", "dailyAvgUv", "favorites", "likes", "sixMonthWatchTime", "sixMonthUv", "comments", "search", "completionRate"].map((name) => [name, 50]));
  const lines: string[] = [];
  for (const { drama } of taught) {
    const films = await filmDrama(drama, { ffmpeg: path, folder: join(folder, "films"), createRandom });
    lines.push(JSON.stringify({ dramaId: drama.dramaId, releasedOn: "2026-01-15", episodes: films.map((film, i) => ({ index: i + 1, path: film })), comments: drama.comments.map(({ text, likes }) => ({ text, likes })) }));
  }
  await writeFile(join(folder, "dramas.jsonl"), `${lines.join("\n")}\nnot json\n`);
  await writeFile(join(folder, "labels.jsonl"), taught.map(({ drama, quality }) => JSON.stringify({ dramaId: drama.dramaId, hotValue: 10 * quality, quality, peakDate: "2026-06-30", scores, modelHash: "x" })).join("\n"));
});
afterAll(() => teacher.close());

async function command(project: string, ...words: string[]): Promise<number | null> {
  const [group, name] = words as [string, string];
  const config = group === "train" ? `${name}.yaml` : "dramascope.yaml";
  const { code, stderr } = await start([...words, "--config", join(project, config), "--progress", "off"]).done;
  if (code !== 0) process.stderr.write(stderr);
  return code;
}

const lineCount = async (path: string): Promise<number> => (await readFile(path, "utf8").catch(() => "")).split("\n").length - 1;

/** Kills a command in the middle of its work, each time that its log has grown to so many lines, then lets it finish. */
async function killed(project: string, log: string, lines: number[], ...words: string[]): Promise<void> {
  const config = join(project, words[0] === "train" ? `${words[1]!}.yaml` : "dramascope.yaml");
  for (const wanted of lines) {
    const { child, done } = start([...words, "--config", config, "--progress", "off"]);
    while (child.exitCode === null && (await lineCount(join(project, log))) < wanted) await setTimeout(5);
    child.kill("SIGKILL");
    expect(await done).toMatchObject({ code: null });
  }
  expect(await command(project, ...words)).toBe(0);
}

const STEPS = [["curate", "run"], ["curate", "export"], ["train", "sft"], ["train", "grpo"]];

describe("from films to an adapter by commands", () => {
  it("kill -9 in curate and in train changes nothing in the end", async () => {
    const whole = await writeProject("whole");
    for (const words of STEPS) expect([words, await command(whole, ...words)]).toEqual([words, 0]);
    const broken = await writeProject("broken");
    await killed(broken, "broken/calls.jsonl", [5, 20, 40], "curate", "run");
    expect(await command(broken, "curate", "export")).toBe(0);
    await killed(broken, "sft/metrics.jsonl", [1, 5, 8], "train", "sft");
    await killed(broken, "grpo/metrics.jsonl", [1, 3, 5], "train", "grpo");
    const read = (project: string, name: string): Promise<string> => readFile(join(project, name.replace("WORK", project.endsWith("whole") ? "whole" : "broken")), "latin1");
    for (const name of ["WORK/export/sft.jsonl", "WORK/export/grpo.jsonl", "WORK/export/samples.jsonl", "sft/adapter/adapter_model.safetensors", "grpo/adapter/adapter_model.safetensors"]) {
      expect(await read(broken, name), name).toBe(await read(whole, name));
    }
    expect(await readFile(join(whole, "whole", "rejected.jsonl"), "utf8")).toContain('"line":9');
    expect((await readdir(join(whole, "whole", "frames"))).length).toBeGreaterThan(0);
    expect(await readFile(join(whole, "whole", "export", "sft.jsonl"), "utf8")).toContain("../frames/w1-");
    const preview = JSON.parse(await readFile(join(whole, "grpo", "preview", "step-000000.json"), "utf8")) as { sheets: string[]; completions: object[] };
    expect([preview.sheets.length, preview.completions.length]).toEqual([5, 2]);
    for (const sheet of preview.sheets) expect((await readFile(sheet)).subarray(1, 4).toString()).toBe("PNG");
    const requests = teacher.requests();
    expect(await command(whole, "curate", "run")).toBe(0);
    expect(teacher.requests()).toBe(requests);
  }, 400_000);

  it("plans and tells without asking anybody", async () => {
    const requests = teacher.requests();
    const project = join(folder, "whole");
    expect((await start(["curate", "plan", "--config", join(project, "dramascope.yaml")]).done).stdout).toMatch(/SFT 4, GRPO 4/u);
    expect((await start(["curate", "status", "--config", join(project, "dramascope.yaml"), "--json"]).done).stdout).toContain('"counts"');
    expect(teacher.requests()).toBe(requests);
  });
});

describe("demo --quick", () => {
  it("runs the whole pipeline and ends with a report that stands alone", async () => {
    const out = join(folder, "demo");
    const { code, stderr } = await start(["demo", "--quick", "--ablation", "--out", out]).done;
    expect([code, code === 0 ? "" : stderr]).toEqual([0, ""]);
    const html = await readFile(join(out, "report.html"), "utf8");
    expect(html).toContain("This was a quick run");
    expect(html).not.toMatch(/(?:src|href)="https?:/u);
    const { stages, ablations } = JSON.parse(await readFile(join(out, "results.json"), "utf8")) as { stages: { name: string; pcc: { value: number } }[]; ablations: Record<"training" | "rewards", { baseline: string; rows: { name: string; pcc: number }[] }>[] };
    const [trained, ablated] = [["base", "base, JSON prompt", "SFT", "SFT + GRPO", "SFT, mean of 4 answers", "SFT + GRPO, mean of 4 answers"], ["GRPO only", "without the caption reward", "without the comments reward", "accuracy and format only", "exact classes only, as published"]];
    expect(stages.map(({ name }) => name)).toEqual([...trained, ...ablated]);
    expect(ablations).toHaveLength(1);
    const { training, rewards } = ablations[0]!;
    expect(training.rows.map(({ name }) => name)).toEqual(["base", "SFT only", "GRPO only", "SFT + GRPO"]);
    expect(rewards.rows.map(({ name }) => name)).toEqual(["no GRPO (SFT only)", ...ablated.slice(1), "all four rewards"]);
    // Each row is the stage's own: the tables and the main results cannot differ.
    for (const row of [training.rows[2]!, ...rewards.rows.slice(1, 5)]) expect(row.pcc).toBeCloseTo(stages.find(({ name }) => name === row.name)!.pcc.value, 9);
    expect(html).toContain("Which rewards matter?");
  }, 400_000);
});
