import { curationReport, curationReportText, datasetCard, disagreementsOf, exportDisagreements, exportSets, openSqliteLedger, STAGE_KINDS, STEP_STATES, type CurationReport, type DramaRecord, type StepLedger } from "@dramascope/curation";
import { readJsonl } from "@dramascope/schema";
import fc from "fast-check";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { answerAll, answeredLedger, answerTo, collect, smallConfig, smallDrama } from "./answered-ledger.ts";

const DRAMAS = Array.from({ length: 36 }, (_, i) => smallDrama(i));
const sum = (counts: readonly number[]): number => counts.reduce((a, b) => a + b, 0);
const folder = (): Promise<string> => mkdtemp(join(tmpdir(), "dramascope-report-"));

/** Figures of a report counted anew from its ledger's rows, without any code of the report. */
async function recount(ledger: StepLedger): Promise<Record<string, Record<string, number>>> {
  const steps = Object.fromEntries(STAGE_KINDS.map((kind) => [kind, Object.fromEntries(STEP_STATES.map((state) => [state, 0]))]));
  for await (const { kind, state } of ledger.stream({ generation: 1 })) steps[kind]![state]!++;
  return steps;
}

describe("the figures of a report", () => {
  it("add up for any answers, also in the middle of a run", async () => {
    const share = fc.double({ min: 0, max: 0.4, noNaN: true });
    const plan = fc.record({
      faults: fc.record({ seed: fc.nat(1e6), blocked: share, failed: share, parked: share, mismatch: fc.double({ min: 0, max: 1, noNaN: true }), rejected: fc.double({ min: 0, max: 1, noNaN: true }) }),
      most: fc.option(fc.integer({ min: 0, max: 120 }), { nil: Infinity }),
      votes: fc.constantFrom(1, 3),
      rounds: fc.record({ min: fc.integer({ min: 1, max: 2 }), max: fc.integer({ min: 2, max: 4 }), stopAfterValid: fc.integer({ min: 1, max: 2 }), perClassMax: fc.constant({}) }),
      cotPerDrama: fc.integer({ min: 1, max: 2 }),
      balance: fc.constantFrom("none" as const, "cap" as const, "weight" as const),
      mode: fc.constantFrom("split-first" as const, "yield-first" as const),
      sftFormat: fc.constantFrom("json" as const, "tags" as const),
    });
    await fc.assert(
      fc.asyncProperty(plan, async ({ faults, most, votes, rounds, cotPerDrama, balance, mode, sftFormat }) => {
        const config = smallConfig({ filter: { votes }, rounds, balance, select: { cotPerDrama }, split: { mode, sftSize: 20 }, export: { sftFormat } });
        const ledger = openSqliteLedger(":memory:");
        await ledger.putDramas(DRAMAS);
        await answerAll(ledger, config, (step, record) => answerTo(step, record, faults), { most });
        const report = await curationReport(ledger, config);
        expect(report.steps).toEqual(await recount(ledger));
        expect(report.isMoving).toBe(false);
        const { sft, grpo, balance: { after } } = report;
        for (const stages of [sft, grpo]) for (const [i, { count }] of stages.entries()) expect(count).toBeLessThanOrEqual(stages[i - 1]?.count ?? Infinity);
        expect(sum(after)).toBeGreaterThanOrEqual(sft.at(-1)!.count);
        expect(sum(after)).toBeLessThanOrEqual(cotPerDrama * sft.at(-1)!.count);
        const unended = DRAMAS.length - sum(report.dramas.eval) - (report.leftOut.pending ?? 0);
        const dir = join(await folder(), "export");
        const manifest = await exportSets(ledger, config, dir);
        expect(manifest.counts).toMatchObject({ samples: unended, sft: sum(after), grpo: grpo.find(({ name }) => name === "exported")!.count, eval: sum(report.dramas.eval) });
        expect(manifest.leftOut).toEqual(report.leftOut);
        await ledger.close();
      }),
      { numRuns: 25 },
    );
  });

  it("are refused when the ledger's own counts say something else", async () => {
    const config = smallConfig();
    const ledger = await answeredLedger(DRAMAS, config);
    const counts = await ledger.counts(1);
    counts.filter.done++;
    const wrong: StepLedger = { ...ledger, counts: () => Promise.resolve(counts) };
    await expect(curationReport(wrong, config)).rejects.toMatchObject({ code: "REPORT_MISMATCH", message: expect.stringMatching(/done steps of kind filter.*, \d+ and \d+/u) as string });
  });

  it("are of no single moment while a run goes on, and say so", async () => {
    const config = smallConfig();
    const ledger = openSqliteLedger(":memory:");
    await ledger.putDramas(DRAMAS);
    await answerAll(ledger, config, (step, record) => answerTo(step, record), { most: 40 });
    const reading: StepLedger = {
      ...ledger,
      answersByDrama: async function* (generation) {
        for await (const one of ledger.answersByDrama(generation)) {
          if (one.drama.dramaId === DRAMAS[20]!.dramaId) await answerAll(ledger, config, (step, record) => answerTo(step, record));
          yield one;
        }
      },
    };
    expect((await curationReport(reading, config)).isMoving).toBe(true);
  });

  it("name no answers under other settings", async () => {
    const config = smallConfig();
    const ledger = await answeredLedger(DRAMAS.slice(0, 2), config);
    await expect(curationReport(ledger, smallConfig({ rounds: { topP: 0.5 } }))).rejects.toMatchObject({ code: "GENERATION_UNKNOWN", message: expect.stringContaining("1 other generation") as string });
  });
});

/** A teacher that says one scripted thing per drama. */
async function scripted(): Promise<{ ledger: StepLedger; report: CurationReport; dramas: DramaRecord[] }> {
  const dramas = Array.from({ length: 6 }, (_, i) => smallDrama(i, { split: i === 5 ? "grpo" : "sft", quality: i === 2 ? 2 : 4, genre: i === 3 ? "__proto__" : "revenge" }));
  const config = smallConfig({ rounds: { max: 2, perClassMax: {} } });
  const ledger = openSqliteLedger(":memory:");
  await ledger.putDramas(dramas);
  await answerAll(ledger, config, (step, record) => {
    const i = dramas.findIndex(({ dramaId }) => dramaId === record.dramaId);
    const good = answerTo(step, record, { mismatch: 0, rejected: 0 })!;
    if (i === 1 && step.kind === "sample" && step.round === 1) return { ...good, content: good.content!.replace('"answer":4', '"answer":5') };
    if (i === 2 && step.kind === "filter") return { ...good, content: '{"reason":"events are not in the summary","valid":false}' };
    if (i === 3) return { ...good, state: "blocked", content: null, code: "content_policy" };
    if (i === 4 && step.kind === "sample") return { ...good, state: "failed", content: '{"think":', code: "INVALID_JSON" };
    return good;
  });
  return { ledger, dramas, report: await curationReport(ledger, config) };
}

describe("a report", () => {
  it("says how far dramas of each class came, and why not further", async () => {
    const { report } = await scripted();
    expect(report.sft.map(({ name, count, byClass }) => [name, count, byClass[1], byClass[3]])).toEqual([
      ["dramas", 5, 1, 4], ["captioned", 4, 1, 3], ["sampled", 4, 1, 3], ["parsed", 3, 1, 2], ["rule 1", 3, 1, 2], ["rules 2 and 3", 2, 0, 2], ["selected", 2, 0, 2], ["exported", 2, 0, 2],
    ]);
    expect(report.grpo.map(({ count }) => count)).toEqual([1, 1, 1, 1, 1]);
    expect(report.verdicts).toEqual({ valid: 2, mismatch: 1, rejected: 2, "no-verdict": 0, unusable: 2, blocked: 0 });
    expect(report.rounds).toEqual([{ round: 1, n: 4, readable: 3, agreed: 2, valid: 1 }, { round: 2, n: 3, readable: 2, agreed: 2, valid: 1 }]);
    expect(report.confusion.firstRound[3]).toEqual([0, 0, 0, 1, 1]);
    expect(report.confusion.allRounds[1]).toEqual([0, 2, 0, 0, 0]);
    expect(report.blocked).toEqual([{ kind: "caption", code: "content_policy", genre: "__proto__", n: 1 }, { kind: "comments", code: "content_policy", genre: "__proto__", n: 1 }]);
    expect(report.blockedByClass).toEqual([0, 0, 0, 2, 0]);
    expect(report.unusable).toEqual([{ kind: "sample", code: "INVALID_JSON", n: 2 }]);
    expect(report.leftOut).toEqual({ blocked: 1, "no-valid-round": 2 });
    expect(report.comments).toEqual({ chosen: 18, kept: 10, dropped: 5, unresolved: 3, waiting: 0 });
    expect(report.cost.byClass[3]).toMatchObject({ records: 2, perRecord: expect.closeTo(report.cost.byClass[3]!.cost / 2, 12) as number });
    expect(report.cost.byClass[1]).toMatchObject({ records: 0, perRecord: null });
  });

  it("shows examples by a seed, and no comment unless asked", async () => {
    const config = smallConfig();
    const ledger = await answeredLedger(DRAMAS, config, { failed: 0.1 });
    const one = await curationReport(ledger, config, { examples: 2 });
    expect(one.examples.map(({ reason, examples }) => [reason, examples.length])).toEqual([["mismatch", 2], ["no-verdict", 2], ["rejected", 2], ["unusable TRUNCATED", 2]]);
    expect(await curationReport(ledger, config, { examples: 2 })).toEqual(one);
    expect((await curationReport(ledger, config, { examples: 2, seed: "other" })).examples).not.toEqual(one.examples);
    expect(JSON.stringify(one)).not.toContain("twist");
    const open = await curationReport(ledger, config, { examples: 2, comments: "include" });
    expect(open.examples.find(({ reason }) => reason === "comment not kept")!.examples[0]!.text).toBe("first");
    expect((await curationReport(ledger, config, { examples: 0 })).examples).toEqual([]);
  });

  it("is readable as text of aligned columns without control characters", async () => {
    const { report } = await scripted();
    const text = curationReportText({ ...report, model: "teacher\u001b[31m\nx", blocked: [{ kind: "caption", code: "a\u202eb", genre: "都市\r", n: 1 }] });
    expect(text).toMatch(/^SFT dramas {5}all {2}1 {2}2 {2}3 {2}4 {2}5\ndramas {11}5 {2}0 {2}1 {2}0 {2}4 {2}0\n/mu);
    expect(text).toMatch(/^ *1 {2}4 {9}3 {7}2 {6}1 {2}25\.0 %$/mu);
    expect(text).toContain("\nrefused  step     genre  number\na?b      caption  都市?       1\n");
    expect(text).not.toMatch(/[^\n\P{C}]/u);
  });

  it("lists every answer that the class or the filter spoke against", async () => {
    const { ledger, report, dramas } = await scripted();
    const path = join(await folder(), "disagree.jsonl");
    expect(await exportDisagreements(ledger, smallConfig({ rounds: { max: 2, perClassMax: {} } }), path)).toBe(report.verdicts.mismatch + report.verdicts.rejected);
    const lines = await collect(readJsonl(path, z.looseObject({ dramaId: z.string(), verdict: z.string(), round: z.number(), reason: z.string().nullable(), predicted: z.number() })));
    expect(lines.filter(({ dramaId }) => dramaId === dramas[1]!.dramaId)).toMatchObject([{ verdict: "mismatch", round: 1, predicted: 5, quality: 4, reason: null }]);
    expect(lines.filter(({ dramaId }) => dramaId === dramas[2]!.dramaId)).toMatchObject([{ verdict: "rejected", round: 1, reason: "events are not in the summary" }, { verdict: "rejected", round: 2 }]);
    expect(await readFile(path, "utf8")).not.toContain("twist");
  });
});

describe("a dataset card", () => {
  it("says what the sets are, how they were made, what was lost, and what to mind", async () => {
    const config = smallConfig({ balance: "cap" });
    const ledger = await answeredLedger(DRAMAS, config);
    const dir = join(await folder(), "export");
    const manifest = await exportSets(ledger, config, dir);
    const card = await readFile(join(dir, "README.md"), "utf8");
    for (const heading of ["What is in it", "How it was made", "From dramas to records", "Balance of classes", "Licence", "Personal data", "Known limits"]) expect(card).toContain(`\n## ${heading}\n`);
    for (const name of manifest.templates) expect(card).toContain(`- \`${name}\``);
    expect(card).toContain(`| sft | ${manifest.counts["sft"]!} |`);
    expect(card).toContain("| more records than the cap of the class |");
    expect(card).not.toMatch(/7300000|twist|USD/u);
    expect(card).toBe(datasetCard(await curationReport(ledger, config), manifest, config));
  });
});

it("names disagreements of a drama without rounds: none", () => {
  const record = smallDrama(0);
  expect(disagreementsOf({ outcome: { record, decision: "no-caption", caption: null, comments: [], unresolved: 0, rounds: [], valid: [], selected: [], problems: [], stepKeys: [], unused: [], waitsForClass: false } })).toEqual([]);
});
