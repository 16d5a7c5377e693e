import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { curationReport, estimate, generationIdentity, loadSetting, openSqliteLedger, parseCurationConfig, runCuration, type CurationConfig, type CurationConfigInput, type CurationOptions, type RunSummary, type StepLedger } from "@dramascope/curation";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { answerTo, clientOf } from "./plain-teacher.ts";
import { dramas, settings } from "./simulator.ts";

let ledger: StepLedger;
beforeEach(() => void (ledger = openSqliteLedger(":memory:")));
afterEach(() => ledger.close());

const workdir = mkdtempSync(join(tmpdir(), "leftovers-"));
const all = dramas(10);

const configOf = (more: Partial<CurationConfigInput>): CurationConfig => parseCurationConfig({ ...settings("http://127.0.0.1:9/v1"), workdir, split: { evalPerClass: 0 }, ...more });

/** A run over the ledger of all runs; samples of every other drama name class 3 at once, the others from their second round on. */
async function run(more: Partial<CurationConfigInput> = {}, { ms = () => 0, ...options }: { ms?: (round: number) => number } & Partial<CurationOptions> = {}): Promise<{ summary: RunSummary; asked: string[] }> {
  const asked: string[] = [];
  const client = clientOf(async (request) => {
    const { drama, round = 0 } = request.trace!;
    asked.push(`${request.task} ${drama} ${round}`);
    await new Promise((resolve) => setTimeout(resolve, ms(round)));
    return answerTo(request, round > 1 || Number(drama.at(-1)) % 2 > 0 ? 3 : 2);
  });
  return { asked, summary: await runCuration({ config: configOf(more), dramas: all, ledger, client, ...options }) };
}

const failures = async (): Promise<string[]> => {
  const rows: string[] = [];
  for await (const { kind, round, code } of ledger.stream({ state: "failed" })) rows.push(`${kind} ${round} ${code}`);
  return rows;
};

test("a worker asks rounds that another one has opened in the meantime", async () => {
  const rounds = { min: 1, max: 3, perClassMax: {}, maxCostPerNewDrama: 1000 };
  const retire = vi.spyOn(ledger, "retire");
  const peers = all.map((one): (typeof all)[number] => ({ ...one, quality: 3 }));
  const both = await Promise.all(["a", "b"].map((owner) => run({ rounds }, { dramas: peers, owner, concurrency: 2, ms: (round) => (round > 1 ? 150 : 5) })));
  expect(both.map(({ summary }) => summary.isComplete)).toEqual([true, true]);
  expect(both.flatMap(({ asked }) => asked).filter((one) => one.startsWith("cot ") && one.endsWith(" 2"))).toHaveLength(5);
  expect([await failures(), retire.mock.calls]).toEqual([[], []]);
});

test("a step that settings no longer ask for is no failure, and is there when they do again", async () => {
  const filter = { votes: 5 };
  await run({ filter }, { concurrency: 1, stages: ["caption", "sample"] });
  const votes = (await ledger.counts(1)).filter.planned;
  expect(votes).toBeGreaterThan(0);
  const fewer = await run({ filter: { votes: 1 } });
  expect([fewer.summary.isComplete, fewer.summary.counts.filter.failed]).toEqual([true, 0]);
  expect(await ledger.free({})).toBe(0);
  expect(fewer.asked.filter((one) => one.startsWith("cot_filter"))).toHaveLength(fewer.summary.counts.filter.done);
  expect(fewer.summary.counts.filter.done).toBeLessThan(votes);
  const again = await run({ filter });
  expect([again.summary.isComplete, await failures()]).toEqual([true, []]);
  expect(again.summary.counts.filter.done).toBeGreaterThanOrEqual(votes);
});

test("dramas that left the input are not asked about until they are back", async () => {
  const gone = all.at(-1)!.drama.dramaId;
  await run({}, { stages: ["caption"] });
  const without = await run({}, { dramas: all.slice(0, -1) });
  expect(without.summary.isComplete).toBe(true);
  expect(without.asked.filter((one) => one.includes(gone))).toEqual([]);
  const whole = await run();
  expect(whole.asked.length).toBeGreaterThan(1);
  expect(whole.asked.every((one) => one.includes(gone))).toBe(true);
});

test("another seed is refused where dramas have their places", async () => {
  await run({}, { stages: ["caption"] });
  const split = { evalPerClass: 0, seed: "another" };
  const refusal = expect.objectContaining({ code: "SPLIT_SEED_CHANGED", message: 'dramas were placed by the seed "split-1", and split.seed is "another" now' }) as Error;
  await expect(run({ split })).rejects.toThrow(refusal);
  await expect(run({ split }, { isNewGeneration: true })).rejects.toThrow(refusal);
  await expect(curationReport(ledger, configOf({ split }))).rejects.toThrow(refusal);
});

test("a teacher that is asked to think otherwise, or told the frame rate elsewhere, gives other answers", async () => {
  const { teacher } = settings("http://127.0.0.1:9/v1");
  const video = { ...teacher, media: "video_url" as const, fps: 1 };
  const identities = [
    { teacher },
    { teacher: { ...teacher, capabilities: { thinkingParam: "thinking" as const } } },
    { teacher: video },
    { teacher: { ...video, capabilities: { fpsWhere: "inside" as const } } },
  ].map(async (more) => {
    const setting = await loadSetting(configOf(more));
    return [generationIdentity(setting), setting.kindHashes.sample];
  });
  expect(new Set((await Promise.all(identities)).flat()).size).toBe(8);
});

test.each([{ max: 1 }, { min: 3, max: 4, stopAfterValid: 2 }, { min: 1, max: 8, stopAfterValid: 3 }])("estimates are in order from the first call to the last: %o", async (more) => {
  const rounds = { ...more, perClassMax: {} };
  const filter = { votes: 3 };
  const check = async (): Promise<void> => {
    const { stages, total } = await estimate({ config: configOf({ rounds, filter }), dramas: all, ledger });
    for (const { calls, cost, promptTokens, completionTokens } of [...Object.values(stages), total]) {
      for (const { low, expected, high } of [calls, cost, promptTokens, completionTokens]) expect([low <= expected, expected <= high]).toEqual([true, true]);
    }
  };
  await check();
  for (let ended = 0; ; ended += 30) {
    const stop = new AbortController();
    const { summary } = await run({ rounds, filter }, { concurrency: 1, signal: stop.signal, onEvent: (event) => event.type === "progress" && event.progress.ended >= 30 && stop.abort() });
    await check();
    if (summary.stopped === null) break;
    expect(ended).toBeLessThan(1000);
  }
});
