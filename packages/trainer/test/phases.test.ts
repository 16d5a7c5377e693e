import { TrainerError } from "@dramascope/trainer";
import { describe, expect, it } from "vitest";
import { explainMemory, PhaseWatch } from "../src/phases.ts";

describe("an allocation that fails", () => {
  it.each([
    ["OOM when allocating tensor with shape[16,4096,151936] and type float", "gradient", /out of memory in phase gradient \(step 3\); it asked for 37984 MiB at once/u, /completionChunk .*keepBytes 0, .*The last checkpoint is good/u],
    ["Array buffer allocation failed", "rollout", /out of memory in phase rollout \(step 3\)$/u, /promptsPerStep/u],
    ["memory access out of bounds", "score", /phase score/u, /maxCompletionLength/u],
  ] as const)("is told with phase, size and remedy: %s", (message, phase, sentence, hint) => {
    const cause = new RangeError(message);
    const told = explainMemory(cause, phase, "step 3") as TrainerError;
    expect(told).toMatchObject({ code: "OUT_OF_MEMORY", cause });
    expect(told.message).toMatch(sentence);
    expect(told.hint).toMatch(hint);
  });

  it("is not seen where something else failed", () => {
    const other = new TypeError("x is not a function");
    expect(explainMemory(other, "gradient", "step 1")).toBe(other);
    const ours = new TrainerError("the prompt says: out of memory", { code: "X" });
    expect(explainMemory(ours, "gradient", "step 1")).toBe(ours);
  });
});

describe("phases", () => {
  it("are measured, and reported while they take too long", async () => {
    let now = 0;
    const warnings: string[] = [];
    const watch = new PhaseWatch({ clock: () => now, timeoutSeconds: 0.01, onWarning: (text) => warnings.push(text) });
    await watch.run("reward", "generation 2", async () => {
      now = 61;
      while (warnings.length < 2) await new Promise((settle) => setTimeout(settle, 5));
    });
    await watch.run("reward", "generation 3", () => Promise.resolve((now += 2)));
    expect(warnings[0]).toBe("reward (generation 2) has taken 61 s");
    expect([...watch.takeSeconds()]).toEqual([["reward", 63]]);
    expect([...watch.takeSeconds()]).toEqual([]);
  });

  it("keep the error of what failed", async () => {
    const watch = new PhaseWatch({ clock: () => 0, timeoutSeconds: 0 });
    await expect(watch.run("load", "sample x", () => Promise.reject(new Error("no such file")))).rejects.toThrow("no such file");
    await expect(watch.run("load", "sample x", () => Promise.reject(new Error("failed to allocate 8 bytes")))).rejects.toMatchObject({ code: "OUT_OF_MEMORY" });
  });
});
