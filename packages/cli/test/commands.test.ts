import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assessment } from "@dramascope/schema";
import { beforeAll, describe, expect, it } from "vitest";
import { fixture, run, start } from "./cli.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-cli-"));
});
const at = (name: string): string => join(folder, name);
const BASE = fixture("models/demo-base");

describe("usage", () => {
  it("every command has help with an example", async () => {
    for (const words of [["doctor"], ["init"], ["demo"], ["hot-value", "fit"], ["hot-value", "score"], ["frames"], ["model", "pull"], ["curate", "plan"], ["curate", "run"], ["curate", "status"], ["curate", "retry"], ["curate", "export"], ["curate", "report"], ["curate", "delete"], ["train", "sft"], ["train", "grpo"], ["assess"], ["evaluate"], ["calibrate", "fit"], ["calibrate", "apply"], ["experiment"], ["rewards", "score"], ["rewards", "serve"], ["rewards", "reweight"]]) {
      const { code, stdout } = await run(...words, "--help");
      expect([words, code]).toEqual([words, 0]);
      expect(stdout).toContain(`Example:\n  dramascope ${words.join(" ")}`);
    }
  });

  it.each([
    [["nonsense"], 2],
    [["assess"], 2],
    [["assess", "x.mp4", "--model", BASE, "--mode", "magic"], 2],
    [["assess", "x.mp4", "--model", BASE, "--dtype", "int8"], 2],
    [["hot-value", "fit", "rows.csv", "--model", "m.json", "--out", "o.csv"], 2],
    [["train", "sft", "--config", "/nonexistent/config.yaml"], 2],
    [["assess", "/nonexistent/clip.mp4", "--model", BASE], 3],
    [["assess", "x.mp4", "--model", "/nonexistent/model"], 3],
    [["frames", "/nonexistent/clip.mp4", "--out", "x"], 3],
    [["frames", "/nonexistent/clip.mp4", "--out", "x", "--ffmpeg", "/nonexistent/ffmpeg"], 4],
  ] as [string[], number][])("%j ends with %i, a code and what to do", async (args, code) => {
    const result = await run(...args);
    expect(result.code).toBe(code);
    expect(result.stderr).not.toBe("");
    if (code === 3) expect(result.stderr).toMatch(/^[A-Z_]+: .*\n {2}→ /mu);
  });

  it("refuses unknown settings of weights, and says where", async () => {
    await writeFile(at("train.yaml"), JSON.stringify({ model: BASE, data: "none.jsonl", runDir: "run", dtype: "int8" }));
    const { code, stderr } = await run("train", "sft", "--config", at("train.yaml"));
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^CONFIG_INVALID: .*train\.yaml: dtype is "int8"\n {2}→ Use float32 or bfloat16\.$/mu)]);
  });

  it("writes no escape codes and no carriage returns without a terminal", async () => {
    const { done } = start(["frames", fixture("clips/tears-of-steel-vertical-540x960.mp4"), "--out", at("plain"), "--budget", "300", "--no-cache"]);
    const { code, stderr } = await done;
    expect(code).toBe(0);
    expect(stderr).toContain("frames");
    expect(stderr).not.toMatch(/[\u001b\r]/u);
  });
});

describe("doctor", () => {
  it("says what is here", async () => {
    const { code, stdout } = await run("doctor");
    expect(code).toBe(0);
    expect(stdout).toMatch(/TensorFlow in use\s+\d/u);
    expect(JSON.parse((await run("doctor", "--json")).stdout)).toMatchObject({ ffmpeg: { version: expect.any(String) as string } });
  });
});

describe("hot-value", () => {
  it("fits and scores", async () => {
    const golden = fixture("goldens/hot-value/indicators.csv.gz");
    const options = JSON.parse(await readFile(fixture("goldens/hot-value/options.json"), "utf8")) as { weights: object };
    await writeFile(at("weights.json"), JSON.stringify(options.weights));
    const fit = await run("hot-value", "fit", golden, "--weights", at("weights.json"), "--as-of", "2026-06-30", "--model", at("model.json"), "--out", at("labels.csv"), "--json");
    expect(fit.code).toBe(0);
    expect(JSON.parse(fit.stdout)).toMatchObject({ report: { classSizes: [737, 970, 366, 243, 221] } });
    const score = await run("hot-value", "score", golden, "--model", at("model.json"), "--out", at("scores.jsonl"), "--json");
    expect(JSON.parse(score.stdout)).toMatchObject({ rows: 14343, rejected: 0 });
  });
});

describe("rewards", () => {
  it("scores a file", async () => {
    await writeFile(at("completions.jsonl"), `${JSON.stringify({ id: "1", completion: "<answer>\\boxed{4}</answer>", solution: "4", caption: "a b", comments: [] })}\n`);
    expect((await run("rewards", "score", "--in", at("completions.jsonl"), "--out", at("rewards.jsonl"))).code).toBe(0);
    expect(JSON.parse(await readFile(at("rewards.jsonl"), "utf8"))).toMatchObject({ id: "1", accuracy: 1, format: 0 });
  });
});

describe("assess", () => {
  it.each(["tears-of-steel-vertical-540x960.mp4", "tears-of-steel-battle-clip-medium.webm"])("gives a valid assessment and a page for %s", async (clip) => {
    const { code, stderr } = await run("assess", fixture(`clips/${clip}`), "--model", BASE, "--out", at("assessments.jsonl"), "--report", at("assessment.html"));
    expect([code, stderr]).toEqual([0, expect.stringMatching(/score \d|unreadable/u) as string]);
    const record = assessment.parse(JSON.parse(await readFile(at("assessments.jsonl"), "utf8")));
    expect(record.frames).toMatchObject({ episodes: 1, frames: 72 });
    expect(await readFile(at("assessment.html"), "utf8")).toContain("data:image/png;base64,");
  });

  it("gives several dramas the records of single calls", async () => {
    const clips = ["tears-of-steel-vertical-540x960.mp4", "tears-of-steel-battle-clip-medium.webm"].map((clip) => fixture(`clips/${clip}`));
    const records = async (...paths: string[]): Promise<unknown[]> => {
      const { stdout } = await run("assess", ...paths, "--model", BASE, "--mode", "greedy", "--budget", "300", "--json");
      return (JSON.parse(stdout) as { assessments: { timings: unknown }[] }).assessments.map(({ timings: _timings, ...rest }) => rest);
    };
    const together = await records(...clips);
    expect(together).toHaveLength(2);
    expect(together).toEqual([...(await records(clips[0]!)), ...(await records(clips[1]!))]);
  });

  it("keeps weights in bfloat16, and ready in a folder, and says so in the record", async ({ skip }) => {
    const { stdout } = await run("doctor", "--json");
    skip((JSON.parse(stdout) as { tensorflow: { binding: string | null } }).tensorflow.binding !== "koffi", "needs a native TensorFlow through koffi");
    const assess = async (...options: string[]): Promise<{ assessments: { model: unknown }[]; resultHash: string }> =>
      JSON.parse((await run("assess", fixture("clips/tears-of-steel-vertical-540x960.mp4"), "--model", BASE, "--mode", "direct", "--budget", "300", "--json", ...options)).stdout) as never;
    const plain = await assess("--dtype", "bfloat16");
    expect(plain.assessments[0]!.model).toMatchObject({ name: "demo-base", dtype: "bfloat16" });
    for (let round = 0; round < 2; round++) expect((await assess("--dtype", "bfloat16", "--weight-cache", at("weights"))).resultHash).toBe(plain.resultHash);
    expect((await readdir(at("weights"))).map((name) => name.replace(/^[0-9a-f]{32}/u, "")).sort()).toEqual([".sha256", ".weights"]);
  });

  it("gives the same record for the same seed", async () => {
    const hash = async (): Promise<unknown> => (JSON.parse((await run("assess", fixture("clips/tears-of-steel-vertical-540x960.mp4"), "--model", BASE, "--seed", "3", "--json", "--out", at("x.jsonl"))).stdout) as { resultHash: string }).resultHash;
    expect(await hash()).toBe(await hash());
  });
});
