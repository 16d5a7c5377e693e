import { mkdtempSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTokenizer } from "@dramascope/qwen-vl";
import { createRandom } from "@dramascope/schema";
import { drawWorld } from "@dramascope/test-fixtures/world/latent.ts";
import { describe, expect, it } from "vitest";
import { pretrain } from "../pretrain/index.ts";
import { answerOf, corpusOf, TASKS } from "../pretrain/tasks.ts";
import { learnTokenizer } from "../pretrain/tokenizer.ts";

const dramas = drawWorld({ seed: 77, count: 60, createRandom, neutral: true }).map(({ drama }) => drama);

describe("the tokenizer of the base", () => {
  const learn = () => learnTokenizer(corpusOf(dramas, createRandom(1)), { targetSize: 400, minFrequency: 2 });

  it("is the same every time and reads its own texts back", () => {
    const { json, size } = learn();
    expect(learn().json).toEqual(json);
    expect(size).toBeGreaterThan(264);
    const tokenizer = createTokenizer(json);
    for (const task of TASKS) {
      const answer = answerOf(task, dramas[0]!, "random", createRandom(2));
      expect(tokenizer.decode(tokenizer.encode(answer))).toBe(answer);
      expect(tokenizer.encode(answer).length).toBeLessThan(answer.length / 2);
    }
  });

  it("keeps control tokens apart", () => {
    const { json, idOf } = learn();
    const tokenizer = createTokenizer(json);
    expect(tokenizer.idOf("<|im_end|>")).toBe(idOf("<|im_end|>"));
    expect(tokenizer.encode("<|im_end|>", { allowSpecial: true })).toEqual([idOf("<|im_end|>")]);
    expect(tokenizer.encode("<|im_end|>").length).toBeGreaterThan(1);
  });
});

describe("answers of the base's lessons", () => {
  it("tie the verdict to the lists in the second phase only", () => {
    const agree = (verdict: "random" | "consistent"): number => {
      const random = createRandom(3);
      const pairs = Array.from({ length: 400 }, (_, i) => {
        const answer = answerOf("cot", dramas[i % dramas.length]!, verdict, random);
        const items = (name: string): number => new RegExp(`${name}: ([^.]*)\\.`, "u").exec(answer)![1]!.split(", ").filter((one) => one !== "none").length;
        return [items("Strengths") - items("Weaknesses"), Number(/"answer": (\d)/u.exec(answer)![1])] as const;
      });
      const mean = (k: 0 | 1): number => pairs.reduce((sum, pair) => sum + pair[k], 0) / pairs.length;
      const [a, b] = [mean(0), mean(1)];
      const moment = (f: (x: number, y: number) => number): number => pairs.reduce((sum, [x, y]) => sum + f(x - a, y - b), 0);
      return moment((x, y) => x * y) / Math.sqrt(moment((x) => x * x) * moment((_, y) => y * y));
    };
    expect(Math.abs(agree("random"))).toBeLessThan(0.15);
    expect(agree("consistent")).toBeGreaterThan(0.8);
  });
});

describe("pretrain", () => {
  const folder = mkdtempSync(join(tmpdir(), "pretrain-"));

  it("lowers the loss and leaves a whole checkpoint", async () => {
    const out = join(folder, "base");
    const { losses, wordsRight } = await pretrain({ out, stepsA: 14, stepsB: 2, dramas: 80, batch: 4 });
    const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    expect(losses).toHaveLength(16);
    expect(mean(losses.slice(-4))).toBeLessThan(0.8 * mean(losses.slice(0, 2)));
    expect(wordsRight).toBeGreaterThanOrEqual(0);
    expect((await readdir(out)).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
    expect(await readdir(folder)).toEqual(["base"]);
    await expect(pretrain({ out, stepsA: 1, stepsB: 1, dramas: 20 })).rejects.toThrow(/is there already/u);
  });

  it("is the same run for the same seed", async () => {
    const [first, second] = await Promise.all([0, 1].map((i) => pretrain({ out: join(folder, `same-${i}`), stepsA: 2, stepsB: 1, dramas: 20, batch: 2, seed: 5 })));
    expect(first!.losses).toEqual(second!.losses);
  });
});
