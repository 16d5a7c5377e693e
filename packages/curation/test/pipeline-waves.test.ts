import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportSets, loadSetting, openSqliteLedger, parseCurationConfig, replayDrama, runCuration, type CurationConfigInput, type DramaOutcome, type Gate } from "@dramascope/curation";
import { startSimulator, type Simulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dramas, settings } from "./simulator.ts";

let teacher: Simulator;
beforeAll(async () => void (teacher = await startSimulator({ bodies: false })));
afterAll(() => teacher.stop());

interface Ran {
  outcomes: DramaOutcome[];
  gates: Gate[];
  isComplete: boolean;
  files: string[];
}

async function run(more: Partial<CurationConfigInput>, options: { concurrency?: number; limit?: number } = {}): Promise<Ran> {
  const folder = await mkdtemp(join(tmpdir(), "dramascope-waves-"));
  const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder, ...more });
  const setting = await loadSetting(config);
  const ledger = openSqliteLedger(join(folder, "ledger.db"));
  try {
    const { isComplete, generation } = await runCuration({ config, dramas: dramas(40), ledger, ...options });
    const gates = await ledger.gates(generation);
    const outcomes: DramaOutcome[] = [];
    for await (const { drama, answers } of ledger.answersByDrama(generation)) outcomes.push(replayDrama(setting, drama, answers, gates).outcome);
    await exportSets(ledger, config, join(folder, "export"));
    return { outcomes, gates, isComplete, files: await Promise.all(["sft.jsonl", "grpo.jsonl"].map((name) => readFile(join(folder, "export", name), "utf8"))) };
  } finally {
    await ledger.close();
  }
}

const split = { seed: "s", evalPerClass: 1, sftSize: 35 };

describe("a price for new dramas", () => {
  it("lets rounds go class by class, and ends a class whose last round was too dear", async () => {
    const rounds = { max: 6, perClassMax: {}, maxCostPerNewDrama: 0.0025 };
    const { outcomes, gates, isComplete } = await run({ split, rounds });
    expect(isComplete).toBe(true);
    expect(outcomes.every(({ decision, waitsForClass }) => decision !== "pending" && !waitsForClass)).toBe(true);
    expect(gates.some(({ isOpen }) => !isOpen)).toBe(true);
    for (const { quality, round, isOpen, cost, newDramas } of gates) {
      expect(isOpen).toBe(cost <= rounds.maxCostPerNewDrama * newDramas);
      const ofClass = outcomes.filter(({ record }) => record.split === "sft" && record.quality === quality);
      expect(newDramas).toBe(ofClass.filter(({ valid }) => valid[0]?.round === round - 1).length);
      expect(ofClass.some((outcome) => outcome.rounds.length >= round)).toBe(isOpen);
    }
    const slowly = await run({ split, rounds }, { concurrency: 3 });
    expect(slowly.gates).toEqual(gates);
    expect(slowly.outcomes).toEqual(outcomes);
  });

  it("changes nothing where it is never reached, and decides nothing for a few dramas", async () => {
    const free = await run({ split });
    const dear = await run({ split, rounds: { max: 4, perClassMax: {}, maxCostPerNewDrama: 1000 } });
    expect(dear.outcomes.filter(({ valid }) => valid.length > 0).length).toBeGreaterThan(5);
    expect(dear.gates.filter(({ isOpen, newDramas }) => !isOpen && newDramas > 0)).toEqual([]);
    expect(free.gates).toEqual([]);
    const few = await run({ split, rounds: { max: 4, perClassMax: {}, maxCostPerNewDrama: 1e-9 } }, { limit: 5 });
    expect([few.isComplete, few.gates]).toEqual([true, []]);
  });
});

describe("places by what comes out", () => {
  it("make SFT of dramas with a valid answer, up to its size, and GRPO of the rest", async () => {
    const { outcomes, files: [sft, grpo] } = await run({ split: { ...split, mode: "yield-first", sftSize: 9 } });
    const asked = outcomes.filter(({ record }) => record.split !== "eval");
    const won = asked.filter(({ valid }) => valid.length > 0);
    expect(won.length).toBeGreaterThan(9);
    expect(asked.every(({ rounds }) => rounds.length > 0)).toBe(true);
    const idsOf = (file: string): string[] => file.split("\n").filter((line) => line !== "").map((line) => (JSON.parse(line) as { videos: { dramaId: string }[] }).videos[0]!.dramaId);
    expect(idsOf(sft!)).toHaveLength(9);
    expect(won.map(({ record }) => record.dramaId)).toEqual(expect.arrayContaining(idsOf(sft!)));
    expect(new Set([...idsOf(sft!), ...idsOf(grpo!)])).toEqual(new Set(asked.map(({ record }) => record.dramaId)));
  });
});
