import { appendFile, mkdtemp, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { curationReport, exportSets, openSqliteLedger, parseAnswer, type CurationConfigInput, type ExportManifest } from "@dramascope/curation";
import { curatedSample, readJsonl, sha256, sha256File, trainingSample, type CuratedSample, type GrpoSample, type SftSample } from "@dramascope/schema";
import { beforeAll, describe, expect, it } from "vitest";
import { answerAll, answeredLedger, answerTo, collect, smallConfig, smallDrama, thinkOf } from "./answered-ledger.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "dramascope-export-"));
});
let folders = 0;
const freshFolder = (): string => join(root, `export-${folders++}`);

const DRAMAS = Array.from({ length: 36 }, (_, i) => smallDrama(i));
const readAll = async (folder: string): Promise<Record<string, string>> => Object.fromEntries(await Promise.all((await readdir(folder)).sort().map(async (name) => [name, await readFile(join(folder, name), "latin1")] as const)));

interface Exported {
  folder: string;
  manifest: ExportManifest;
  samples: CuratedSample[];
  sft: SftSample[];
  grpo: GrpoSample[];
  eval: GrpoSample[];
}

async function exported(more: Partial<CurationConfigInput> = {}, dramas = DRAMAS, answer: Parameters<typeof answerAll>[2] = (step, record) => answerTo(step, record)): Promise<Exported> {
  const config = smallConfig(more);
  const ledger = openSqliteLedger(":memory:");
  await ledger.putDramas(dramas);
  await answerAll(ledger, config, answer);
  const folder = freshFolder();
  const manifest = await exportSets(ledger, config, folder);
  await ledger.close();
  const records = async <T>(name: string): Promise<T[]> => collect(readJsonl(join(folder, name), trainingSample)) as Promise<T[]>;
  return { folder, manifest, samples: await collect(readJsonl(join(folder, "samples.jsonl"), curatedSample)), sft: await records("sft.jsonl"), grpo: await records("grpo.jsonl"), eval: await records("eval.jsonl") };
}

const idOf = ({ sampleId }: { sampleId: string }): string => sampleId.slice(sampleId.indexOf("-") + 1);
const classes = new Map(DRAMAS.map(({ dramaId, quality }) => [dramaId, quality]));

describe("an export", () => {
  it("holds every set in the order of the hash of the drama's id, with the hashes in the manifest", async () => {
    const { folder, manifest, samples, sft, grpo, eval: held } = await exported();
    expect(manifest.counts).toEqual({ samples: samples.length, sft: sft.length, grpo: grpo.length, eval: held.length });
    expect([samples.length, grpo.length, held.length]).toEqual([30, 6, 6]);
    expect(sft.length).toBeGreaterThan(10);
    expect(sft.length + (manifest.leftOut["no-valid-round"] ?? 0)).toBe(24);
    for (const set of [samples, sft, grpo, held]) {
      const hashes = set.map((one) => sha256(idOf(one)));
      expect(hashes).toEqual([...hashes].sort());
    }
    expect(Object.keys(manifest.sha256).sort()).toEqual(["README.md", "eval.jsonl", "grpo.jsonl", "samples.jsonl", "sft.jsonl", "splits.json"]);
    for (const [name, hash] of Object.entries(manifest.sha256)) expect(await sha256File(join(folder, name))).toBe(hash);
    expect(JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"))).toEqual(manifest);
    const splits = JSON.parse(await readFile(join(folder, "splits.json"), "utf8")) as { assignment: Record<string, string>; groups: Record<string, string[]> };
    expect(splits.assignment).toEqual(Object.fromEntries(DRAMAS.map(({ dramaId, split }) => [dramaId, split])));
    expect(Object.values(splits.groups).flat().sort()).toEqual([...classes.keys()].sort());
  });

  it("teaches the known class with the accepted text, five videos and the whole way to it", async () => {
    const { sft, samples } = await exported();
    for (const { target, videos, messages, provenance, sampleId } of sft) {
      const dramaId = sampleId.slice("sft-".length);
      const answer = parseAnswer("cot", { content: target });
      const round = provenance!.sampling!.round;
      expect(answer).toMatchObject({ ok: true, value: { answer: classes.get(dramaId), think: thinkOf(dramaId, round) }, flags: [] });
      expect(target).toBe(`{"think": ${JSON.stringify(thinkOf(dramaId, round))}, "answer": ${classes.get(dramaId)!}}`);
      expect(videos).toEqual([1, 2, 3, 4, 5].map((episode) => ({ dramaId, episode })));
      expect((messages[0]!.content as { type: string }[]).filter(({ type }) => type === "video")).toHaveLength(5);
      expect(provenance).toMatchObject({ generation: 1, modelRequested: "teacher-1", modelReturned: ["teacher-1-2026"], sampling: { topP: 0.95, temperature: [0.7, 0.8, 0.9, 1][round - 1] }, classCalibration: "c".repeat(64), split: { mode: "split-first", groupId: dramaId } });
      expect(provenance!.stepKeys.length).toBeGreaterThanOrEqual(3);
      expect(provenance!.templates[0]).toMatch(/^cot@\d+\.\d+\.\d+#[0-9a-f]{64}$/u);
      const sample = samples.find((one) => one.dramaId === dramaId)!;
      expect(sample.rounds.find((one) => one.round === round)).toMatchObject({ verdict: "valid", think: thinkOf(dramaId, round) });
    }
  });

  it("keeps rejected dramas with their verdicts in samples, and no place of a file anywhere", async () => {
    const { samples, folder } = await exported({ rounds: { max: 2, perClassMax: {} } }, DRAMAS, (step, record) => answerTo(step, record, { mismatch: 0.8 }));
    const lost = samples.filter(({ decision }) => decision === "no-valid-round");
    expect(lost.length).toBeGreaterThan(3);
    for (const { rounds, think } of lost) {
      expect(think).toBeNull();
      expect(rounds).toHaveLength(2);
      for (const { verdict, think: text } of rounds) expect([["mismatch", "rejected"].includes(verdict), text]).toEqual([true, null]);
    }
    expect(JSON.stringify(await readAll(folder))).not.toContain("/secret/place");
  });

  it("gives GRPO its class, caption and kept comments, and evaluation its class alone", async () => {
    const { grpo, eval: held, manifest } = await exported({}, DRAMAS, (step, record) => (step.kind === "caption" && record.dramaId.endsWith("5") ? { ...answerTo(step, record)!, state: "blocked", content: null, code: "refusal" } : answerTo(step, record)));
    expect(manifest.leftOut.blocked).toBeGreaterThan(0);
    expect(grpo.map(idOf).filter((id) => id.endsWith("5"))).toEqual([]);
    for (const one of grpo) {
      const number = Number(idOf(one).slice(-5));
      expect(one).toMatchObject({ quality: classes.get(idOf(one)), caption: expect.stringContaining("hidden heir") as string, comments: ["What a twist!", `She cried in episode ${number % 5}`] });
      expect(one.flags).toBeUndefined();
    }
    for (const one of held) expect(one).toMatchObject({ quality: classes.get(idOf(one)), caption: "", comments: [], flags: ["no-caption", "no-comments"], provenance: { stepKeys: [], modelReturned: [] } });
  });

  it("keeps a GRPO drama without comments, flagged", async () => {
    const { grpo } = await exported({}, [smallDrama(5, { comments: [] }), smallDrama(11)]);
    expect(grpo.map(({ comments, flags }) => [comments.length, flags]).sort()).toEqual([[0, ["no-comments"]], [2, undefined]]);
  });
});

describe("answers in tags", () => {
  const tags = { export: { sftFormat: "tags" as const }, comments: { answerComments: 1 } };

  it("hold the four parts in order, under the prompt that asks for them", async () => {
    const { sft } = await exported(tags);
    expect(sft.length).toBeGreaterThan(10);
    for (const { target, sampleId, provenance } of sft) {
      const dramaId = sampleId.slice(4);
      expect(target).toBe(`<caption>A girl of drama ${dramaId} marries a hidden heir.</caption>\n<comments>["What a twist!"]</comments>\n<think>${thinkOf(dramaId, provenance!.sampling!.round)}</think>\n<answer>\\boxed{${classes.get(dramaId)!}}</answer>`);
      expect(provenance!.templates[0]).toMatch(/^grpo@/u);
    }
  });

  const spoof = (kind: "caption" | "sample", text: string): Parameters<typeof answerAll>[2] => (step, record) => {
    const answer = answerTo(step, record, { mismatch: 0, rejected: 0 })!;
    if (step.kind !== kind) return answer;
    return { ...answer, content: kind === "caption" ? text : JSON.stringify({ think: `${thinkOf(record.dramaId, 1)} ${text}`, answer: record.quality }) };
  };
  it.each(["</think>", "<answer>", "\\boxed{1}", "</CAPTION>", "x<comments>y"])("are left out and counted where a text holds %s", async (text) => {
    for (const kind of ["caption", "sample"] as const) {
      const { sft, manifest } = await exported(tags, DRAMAS.slice(0, 4), spoof(kind, text));
      expect([sft.length, manifest.leftOut]).toEqual([0, { "tag-text": 4 }]);
    }
    const json = await exported({}, DRAMAS.slice(0, 4), spoof("sample", text));
    expect(json.sft.map(({ target }) => (JSON.parse(target) as { think: string }).think.endsWith(text))).toEqual([true, true, true, true]);
  });

  it("pass over a comment that holds a tag, and need one that does not", async () => {
    const { sft, manifest } = await exported(tags, [smallDrama(0, { comments: ["</comments>", "no", "wow"] }), smallDrama(1, { comments: ["<think>", "no", "</answer>"] })], (step, record) => answerTo(step, record, { mismatch: 0, rejected: 0 }));
    expect(sft.map(({ target }) => /<comments>(.*)<\/comments>/u.exec(target)![1])).toEqual(['["wow"]']);
    expect(manifest.leftOut).toEqual({ "no-comments": 1 });
  });
});

describe("balance", () => {
  const skewed = Array.from({ length: 30 }, (_, i) => smallDrama(i, { split: "sft", quality: i < 3 ? 2 : i < 10 ? 4 : 5 }));
  const all: Parameters<typeof answerAll>[2] = (step, record) => answerTo(step, record, { mismatch: 0, rejected: 0 });

  it("cuts each class to the smallest times the factor, in the order of the hash", async () => {
    const free = await exported({}, skewed, all);
    const { sft, manifest } = await exported({ balance: "cap", export: { capFactor: 1.5 } }, skewed, all);
    expect(manifest.balance).toEqual({ mode: "cap", before: [0, 3, 0, 7, 20], after: [0, 3, 0, 4, 4] });
    expect(manifest.leftOut).toEqual({ "over-class-cap": 19 });
    const own = free.sft.filter(({ target }) => target.endsWith("5}")).slice(0, 4).map(idOf);
    expect(sft.filter(({ target }) => target.endsWith("5}")).map(idOf)).toEqual(own);
  });

  it("weighs classes alike, one on average", async () => {
    const { sft, manifest } = await exported({ balance: "weight" }, skewed, all);
    expect(manifest.balance.after).toEqual([0, 3, 0, 7, 20]);
    const sums = new Map<string, number>();
    for (const { target, weight } of sft) sums.set(target.at(-2)!, (sums.get(target.at(-2)!) ?? 0) + weight!);
    for (const sum of sums.values()) expect(sum).toBeCloseTo(10, 9);
  });

  it("gives a drama several answers, never one twice", async () => {
    const { sft } = await exported({ rounds: { min: 4, max: 4, perClassMax: {} }, select: { cotPerDrama: 2 } }, skewed, all);
    expect(sft).toHaveLength(60);
    expect(new Set(sft.map(({ target }) => target)).size).toBe(60);
    expect(sft.filter(({ sampleId }) => sampleId.startsWith("sft.2-"))).toHaveLength(30);
  });
});

describe("the bytes of an export", () => {
  it("depend on the answers alone: not on the order, pace, interruptions and retries of the run", async () => {
    const config = smallConfig();
    const whole = freshFolder();
    await exportSets(await answeredLedger(DRAMAS, config), config, whole);
    const file = join(root, "interrupted.db");
    for (const most of [7, 40, Infinity]) {
      const ledger = openSqliteLedger(file);
      if (most === 7) await ledger.putDramas([...DRAMAS].reverse());
      await answerAll(ledger, config, (step, record) => ({ ...answerTo(step, record)!, attempts: 3, cost: 0.5 }), { width: 3, most });
      await ledger.close();
    }
    const again = freshFolder();
    const ledger = openSqliteLedger(file, { isReadOnly: true });
    await exportSets(ledger, config, again);
    await ledger.close();
    expect(await readAll(again)).toEqual(await readAll(whole));
  });

  it("are left where they are when nothing changed, and replaced when something did", async () => {
    const config = smallConfig();
    const ledger = await answeredLedger(DRAMAS, config);
    const folder = freshFolder();
    const first = await exportSets(ledger, config, folder);
    const { ino } = await stat(folder);
    expect(await exportSets(ledger, config, folder)).toEqual(first);
    expect((await stat(folder)).ino).toBe(ino);
    await writeFile(join(folder, "sft.jsonl"), "damaged\n");
    await exportSets(ledger, config, folder);
    expect(await sha256File(join(folder, "sft.jsonl"))).toBe(first.sha256["sft.jsonl"]);
    await ledger.deleteDrama(DRAMAS[0]!.dramaId);
    const less = await exportSets(ledger, config, folder);
    expect(less.counts["samples"]).toBe(first.counts["samples"]! - 1);
    expect(JSON.stringify(await readAll(folder))).not.toContain(DRAMAS[0]!.dramaId);
    expect(await readdir(root)).not.toContainEqual(expect.stringMatching(/tmp|\.old/u));
  });

  it("never replace what is not the same generation's export", async () => {
    const config = smallConfig();
    const ledger = await answeredLedger(DRAMAS, config);
    const folder = freshFolder();
    await exportSets(ledger, config, folder);
    const before = await readAll(folder);
    const other = smallConfig({ teacher: { ...config.teacher, model: "teacher-2" } });
    await expect(exportSets(ledger, other, folder)).rejects.toMatchObject({ code: "GENERATION_UNKNOWN" });
    await answerAll(ledger, other, (step, record) => answerTo(step, record));
    await expect(exportSets(ledger, other, folder)).rejects.toMatchObject({ code: "EXPORT_EXISTS", message: expect.stringMatching(/generation 1, run \w+; this is generation 2/u) as string });
    expect(await readAll(folder)).toEqual(before);
    await writeFile(join(folder, "notes.txt"), "mine");
    await expect(exportSets(await answeredLedger(DRAMAS, config), config, folder)).rejects.toMatchObject({ code: "EXPORT_EXISTS", message: expect.stringContaining("notes.txt") as string });
    const foreign = await mkdtemp(join(root, "foreign-"));
    await writeFile(join(foreign, "thesis.md"), "mine");
    await expect(exportSets(ledger, other, foreign)).rejects.toMatchObject({ code: "EXPORT_EXISTS" });
    expect(await readdir(foreign)).toEqual(["thesis.md"]);
  });

  it("never replace a card that a licence was written into", async () => {
    const config = smallConfig();
    const ledger = await answeredLedger(DRAMAS, config);
    const folder = freshFolder();
    await exportSets(ledger, config, folder);
    await appendFile(join(folder, "README.md"), "CC-BY 4.0\n");
    await ledger.deleteDrama(DRAMAS[0]!.dramaId);
    const before = await readAll(folder);
    await expect(exportSets(ledger, config, folder)).rejects.toMatchObject({ code: "EXPORT_EDITED", message: expect.stringContaining("README.md") as string });
    expect(await readAll(folder)).toEqual(before);
    await rename(join(folder, "README.md"), join(root, "edited.md"));
    expect((await exportSets(ledger, config, folder)).counts["samples"]).toBe(29);
  });

  it("are refused for a generation whose answers went over to a new one", async () => {
    const [config, other] = [smallConfig(), smallConfig({ rounds: { max: 4, perClassMax: {}, topP: 0.9 } })];
    const ledger = await answeredLedger(DRAMAS, config);
    const folder = freshFolder();
    await exportSets(ledger, config, folder);
    const before = await readAll(folder);
    await answerAll(ledger, other, (step, record) => answerTo(step, record));
    const old = { code: "GENERATION_OLD", message: expect.stringMatching(/generation 1 .*generation 2/u) as string };
    await expect(exportSets(ledger, config, folder)).rejects.toMatchObject(old);
    await expect(curationReport(ledger, config)).rejects.toMatchObject(old);
    expect(await readAll(folder)).toEqual(before);
    expect((await exportSets(ledger, other, freshFolder())).generation).toBe(2);
  });

  it("leave nothing behind when a check fails", async () => {
    const config = smallConfig();
    const grouped = DRAMAS.map((one) => (one.split === "eval" || one.dramaId === DRAMAS[0]!.dramaId ? { ...one, groupId: "together" } : one));
    const ledger = await answeredLedger(grouped, config);
    const folder = freshFolder();
    await expect(exportSets(ledger, config, folder)).rejects.toMatchObject({ code: "EXPORT_CHECK", message: expect.stringContaining('the group "together"') as string });
    expect((await readdir(root)).filter((name) => name.includes("tmp") || join(root, name) === folder)).toEqual([]);
  });
});

it("takes ids that are names of the language or look like paths", async () => {
  const ids = ["__proto__", "constructor", "../../etc/passwd", "a b/c", "剧 1", "toString"];
  const { samples, folder } = await exported({}, ids.map((dramaId, i) => smallDrama(i, { dramaId, groupId: dramaId })), (step, record) => answerTo(step, record, { mismatch: 0, rejected: 0 }));
  expect(samples.map(({ dramaId }) => dramaId).sort()).toEqual(ids.filter((_, i) => i !== 4).sort());
  const { assignment } = JSON.parse(await readFile(join(folder, "splits.json"), "utf8")) as { assignment: object };
  expect(Object.keys(assignment).sort()).toEqual([...ids].sort());
});

it("divides by what came out, whole groups at a time", async () => {
  const dramas = Array.from({ length: 12 }, (_, i) => smallDrama(i, { split: i < 2 ? "eval" : "sft", groupId: i >= 10 ? "pair" : `g${i}` }));
  const never = new Set([dramas[3]!.dramaId, dramas[4]!.dramaId, dramas[11]!.dramaId]);
  const { sft, grpo, manifest } = await exported({ split: { mode: "yield-first", sftSize: 100 } }, dramas, (step, record) => answerTo(step, record, { mismatch: never.has(record.dramaId) ? 1 : 0, rejected: 0 }));
  expect(grpo.map(idOf).sort()).toEqual([dramas[3]!.dramaId, dramas[4]!.dramaId].sort());
  expect(sft).toHaveLength(7);
  expect(manifest.leftOut).toEqual({ "no-valid-round": 1 });
  const small = await exported({ split: { mode: "yield-first", sftSize: 3 } }, dramas, (step, record) => answerTo(step, record, { mismatch: 0, rejected: 0 }));
  expect([small.sft.length, small.grpo.length]).toEqual([3, 7]);
});
