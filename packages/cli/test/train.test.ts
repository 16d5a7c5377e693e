import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { fixture, run } from "./cli.ts";

let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-train-"));
  const core = (i: number): object => ({ sampleId: `s${i}`, messages: [{ role: "user", content: "Retell this drama." }], videos: [] });
  const samples = Array.from({ length: 4 }, (_, i) => [{ ...core(i), kind: "sft", target: "Revenge of red." }, { ...core(i), kind: "grpo", quality: 3, caption: "Revenge of red.", comments: ["so good"] }]).flat();
  await writeFile(at("data.jsonl"), samples.map((sample) => `${JSON.stringify(sample)}\n`).join(""));
  const common = { model: fixture("models/demo-base"), data: "data.jsonl", lora: { r: 4 }, learningRate: 1e-3 };
  await writeFile(at("sft.yaml"), JSON.stringify({ ...common, runDir: "sft", epochs: 2, batchSize: 2 }));
  await writeFile(at("grpo.yaml"), JSON.stringify({ ...common, runDir: "grpo", preset: "paper", numGenerations: 3, steps: 3, promptsPerStep: 2, maxCompletionLength: 12 }));
});

const grpo = (...words: string[]): ReturnType<typeof run> => run("train", "grpo", "--config", at("grpo.yaml"), "--progress", "off", ...words);

describe("train --print-config", () => {
  it("says where each value comes from", async () => {
    const { code, stdout } = await grpo("--print-config", "--set", "lora.alpha=16", "epsilon=0.1", "featureCache=features", "--seed", "7", "--json");
    expect(code).toBe(0);
    const { settings } = JSON.parse(stdout) as { settings: { name: string; value: unknown; origin: string }[] };
    const found = new Map(settings.map(({ name, value, origin }) => [name, [value, origin]]));
    const expected: [string, unknown, string][] = [
      ["numGenerations", 3, "file"], ["advantageConvention", "paper", "preset"], ["beta", 0.04, "preset"], ["lora.r", 4, "file"], ["lora.alpha", 16, "flag"], ["epsilon", 0.1, "flag"],
      ["featureCache", at("features"), "flag"], ["seed", 7, "flag"], ["epsilonHigh", 0.2, "default"], ["timeBase", "pinned", "default"], ["dtype", "float32", "default"],
    ];
    for (const [name, value, origin] of expected) expect([name, found.get(name)]).toEqual([name, [value, origin]]);
    expect(existsSync(at("grpo"))).toBe(false);
  });

  it("is YAML that can be used as a file", async () => {
    const { stdout } = await grpo("--print-config", "--preset", "gspo");
    expect(stdout).toMatch(/^importanceSamplingLevel: "sequence" +# preset$/mu);
    expect(stdout).toMatch(/^runDir: ".*grpo" +# file$/mu);
  });
});

describe("wrong words", () => {
  it.each([
    ["an unknown preset", "grpo", ["--preset", "papers"], /there is no preset "papers"[^]*paper, trl-1\.13, gspo/u],
    ["a preset that is no name", "grpo", ["--set", "preset=3"], /preset is 3/u],
    ["a preset for SFT", "sft", ["--set", "preset=paper"], /presets are for GRPO/u],
    ["an assignment without a value", "grpo", ["--set", "epsilon"], /--set wants path=value/u],
    ["a path into prototypes", "grpo", ["--set", "__proto__.x=1"], /--set wants path=value/u],
    ["an unknown setting", "grpo", ["--set", "learningrate=1"], /did you mean learningRate/u],
    ["a setting beside the trainer's", "sft", ["--set", "weightcache=x"], /did you mean weightCache/u],
  ])("%s", async (_what, kind, words, message) => {
    const { code, stderr } = await run("train", kind, "--config", at(`${kind}.yaml`), ...words);
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
  });
});

describe("train --plan", () => {
  it.each(["sft", "grpo"])("says what %s takes and writes nothing", async (kind) => {
    const { code, stdout } = await run("train", kind, "--config", at(`${kind}.yaml`), "--plan", "--json");
    expect(code).toBe(0);
    const plan = JSON.parse(stdout) as { kind: string; steps: number; tokens: { prompt: { min: number; max: number } }; linearTokens: { shared: number; unshared: number }; memory: { peak: number; weights: number }; time: { step: number; total: number }; checkpoint: { each: number } };
    expect(plan).toMatchObject({ kind, steps: kind === "sft" ? 4 : 3, samples: 4 });
    expect(plan.tokens.prompt.min).toBeGreaterThan(3);
    expect(plan.time.total).toBeCloseTo(plan.time.step * plan.steps, 9);
    expect(plan.time.step).toBeGreaterThan(0);
    expect(plan.memory.peak).toBeGreaterThan(plan.memory.weights);
    expect(plan.linearTokens.unshared >= plan.linearTokens.shared).toBe(true);
    expect(existsSync(at(kind))).toBe(false);
  });
});

describe("train grpo", () => {
  it("tells what it will take and how that fits, keeps every completion, and shows what the model says", async () => {
    const { code, stderr } = await grpo();
    expect([code, code === 0 ? "" : stderr]).toEqual([0, ""]);
    expect(stderr).toMatch(/^3 samples|^4 samples, 3 optimiser steps$/mu);
    expect(stderr).toMatch(/^a step takes .* planned .*; peak memory .* planned /mu);
    expect(stderr).toMatch(/LOSS_ZERO: .*by construction/u);
    expect(JSON.parse(await readFile(at("grpo/run.json"), "utf8"))).toMatchObject({ inputs: { backend: expect.stringMatching(/, cpu, 1 thread$|, gpu, 1 thread$/u) as string } });
    const metrics = (await readFile(at("grpo/metrics.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
    const names = ["loss", "grad_norm", "learning_rate", "epoch", "num_tokens", "step_time", "reward", "reward_std", "frac_reward_zero_std", "rewards/caption/mean", "rewards/format/std", "completions/mean_length",
      "completions/min_terminated_length", "completions/clipped_ratio", "kl", "entropy", "clip_ratio/low_mean", "clip_ratio/high_max", "clip_ratio/region_mean", "sampling/sampling_logp_difference/mean",
      "dramascope/time/rollout", "dramascope/time/reward", "dramascope/memory/peak", "dramascope/reward_latency/p50", "dramascope/reward_latency/p95"];
    expect(metrics.map((line) => names.filter((name) => !(name in line)))).toEqual([[], [], []]);
    expect(await readdir(at("grpo/tensorboard"))).toEqual(["events.out.tfevents.0.dramascope"]);
    const previews = (await readdir(at("grpo/preview"))).sort();
    expect(previews).toEqual(["step-000000.json", "step-000001.json"]);
    expect(JSON.parse(await readFile(at("grpo/preview/step-000001.json"), "utf8"))).toMatchObject({ step: 1, id: "s0", sheets: [], completions: [{ length: expect.any(Number) as number }, { ended: expect.any(Boolean) as boolean }] });
    const completions = (await readFile(at("grpo/completions.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(completions).toHaveLength(3 * 2 * 3);
    for (const key of ["step", "id", "index", "text", "length", "ended", "caption", "comments", "accuracy", "format", "total", "advantage", "version", "frames"]) expect(Object.keys(completions[0]!)).toContain(key);

    const again = await run("rewards", "reweight", "--completions", at("grpo/completions.jsonl"), "--weights", "accuracy=0.1, caption=0.6", "--out", at("reweighted.jsonl"), "--json");
    expect(again.code).toBe(0);
    expect(JSON.parse(again.stdout)).toMatchObject({ completions: 18, groups: 6, before: { accuracy: 0.5 }, after: { accuracy: 0.1, caption: 0.6, comments: 0.2 } });
    expect((await readFile(at("reweighted.jsonl"), "utf8")).trim().split("\n")).toHaveLength(18);
    expect(await run("rewards", "reweight", "--completions", at("grpo/completions.jsonl"), "--weights", "style=1")).toMatchObject({ code: 2 });
  });
});

describe("an adapter", () => {
  it("comes out of a checkpoint and goes into its model", async () => {
    expect((await run("train", "sft", "--config", at("sft.yaml"), "--progress", "off", "--no-plan", "--set", "evalSamples=1", "evalSteps=2", `runDir=${at("held")}`)).code).toBe(0);
    const taken = await run("train", "export", "--run", at("held"), "--checkpoint", "best", "--out", at("best"), "--json");
    expect([taken.code, taken.stderr]).toEqual([0, ""]);
    const { checkpoint, hasEffect } = JSON.parse(taken.stdout) as { checkpoint: string; hasEffect: boolean };
    expect([checkpoint, hasEffect]).toEqual([at(`held/${(await readFile(at("held/best"), "utf8")).trim()}`), true]);
    expect((await readdir(at("best"))).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors", "run-manifest.json"]);

    const merged = await run("train", "merge", "--model", fixture("models/demo-base"), "--adapter", at("best"), "--out", at("merged"), "--dtype", "float32", "--verify", "--json");
    expect([merged.code, JSON.parse(merged.stdout)]).toEqual([0, { model: at("merged"), dtype: "float32", difference: expect.any(Number) as number, effect: expect.any(Number) as number }]);
    expect(await readdir(at("merged"))).toEqual(expect.arrayContaining(["config.json", "model.safetensors", "tokenizer.json"]));

    const unwanted = await run("train", "merge", "--model", fixture("models/demo-base"), "--adapter", checkpoint, "--out", at("unwanted"));
    expect([unwanted.code, unwanted.stderr]).toEqual([3, expect.stringMatching(/^(?!.*merging)[^]*ADAPTER_CHECKPOINT: .* is a checkpoint of a run[^]*train export/u)]);
    const onto = await run("train", "export", "--run", at("held"), "--out", at("sft.yaml"));
    expect([onto.code, onto.stderr]).toEqual([3, expect.stringMatching(/ADAPTER_FOLDER: .*sft\.yaml cannot take an adapter/u)]);

    // The merged model is another base than the adapter's.
    const again = await run("train", "merge", "--model", at("merged"), "--adapter", at("best"), "--out", at("twice"));
    expect([again.code, again.stderr]).toEqual([3, expect.stringMatching(/MODEL_MISMATCH: .* was trained on another model/u)]);
    expect(existsSync(at("twice"))).toBe(false);
  });

  it.each([
    ["a checkpoint that is not there", ["export", "--run", "held", "--checkpoint", "999"], 3, /NO_CHECKPOINT: .*no checkpoint 999/u],
    ["a path for a checkpoint", ["export", "--run", "held", "--checkpoint", "../held"], 3, /NO_CHECKPOINT/u],
    ["a folder that is no run", ["export", "--run", "nowhere"], 3, /NO_CHECKPOINT/u],
    ["a base without weights", ["merge", "--model", "nowhere", "--adapter", "nowhere"], 3, /MODEL_NOT_FOUND/u],
    ["an adapter that is not there", ["merge", "--model", fixture("models/demo-base"), "--adapter", "nowhere"], 3, /^(?!.*merging)[^]*ADAPTER_NOT_FOUND: .*nowhere holds no adapter_config\.json/u],
    ["a type that no file has", ["merge", "--model", "x", "--adapter", "y", "--dtype", "int8"], 2, /--dtype wants float32 or bfloat16 or float16/u],
  ])("%s is refused", async (_what, words, code, message) => {
    const result = await run("train", ...words.map((word) => (word === "held" || word === "nowhere" ? at(word) : word)), "--out", at("unmade"));
    expect([result.code, result.stderr]).toEqual([code, expect.stringMatching(message)]);
    expect(existsSync(at("unmade"))).toBe(false);
  });
});

it("understands the files of the trainer's README", async () => {
  const readme = await readFile(new URL("../../trainer/README.md", import.meta.url), "utf8");
  const files = [...readme.matchAll(/```yaml\n(model:[^]*?)```/gu)].map(([, yaml]) => yaml!);
  expect(files).toHaveLength(2);
  for (const [i, kind] of ["sft", "grpo"].entries()) {
    await writeFile(at(`readme-${kind}.yaml`), files[i]!);
    const { code, stdout } = await run("train", kind, "--config", at(`readme-${kind}.yaml`), "--print-config");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^runDir: .* # file$/mu);
  }
});
