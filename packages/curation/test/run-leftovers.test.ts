import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteLedger, parseCurationConfig, runCuration, type CurationConfigInput, type CurationOptions, type RunSummary, type StepLedger } from "@dramascope/curation";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { answerTo, clientOf } from "./plain-teacher.ts";
import { dramas, settings } from "./simulator.ts";

let ledger: StepLedger;
beforeEach(() => void (ledger = openSqliteLedger(":memory:")));
afterEach(() => ledger.close());

const workdir = mkdtempSync(join(tmpdir(), "leftovers-"));
const all = dramas(10);

/** A run over the ledger of all runs; samples of every other drama name class 3 at once, the others from their second round on. */
async function run(more: Partial<CurationConfigInput> = {}, { ms = () => 0, ...options }: { ms?: (round: number) => number } & Partial<CurationOptions> = {}): Promise<{ summary: RunSummary; asked: string[] }> {
  const asked: string[] = [];
  const client = clientOf(async (request) => {
    const { drama, round = 0 } = request.trace!;
    asked.push(`${request.task} ${drama} ${round}`);
    await new Promise((resolve) => setTimeout(resolve, ms(round)));
    return answerTo(request, round > 1 || Number(drama.at(-1)) % 2 > 0 ? 3 : 2);
  });
  const config = parseCurationConfig({ ...settings("http://127.0.0.1:9/v1"), workdir, split: { evalPerClass: 0 }, ...more });
  return { asked, summary: await runCuration({ config, dramas: all, ledger, client, ...options }) };
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
