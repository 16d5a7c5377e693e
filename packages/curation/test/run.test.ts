import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportSets, openSqliteLedger, parseCurationConfig, runCuration, STAGE_KINDS, type CurationConfigInput, type CurationEvent, type CurationOptions, type RunSummary, type StepLedger } from "@dramascope/curation";
import { startSimulator, type Simulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { afterEach, describe, expect, it } from "vitest";
import { callsOf, CANARY_KEY, CANARY_PHONE, COMMENTS, dramas, repeatedCalls, settings } from "./simulator.ts";

let simulators: Simulator[] = [];
afterEach(async () => {
  await Promise.all(simulators.map((one) => one.stop()));
  simulators = [];
});
async function simulator(options: Parameters<typeof startSimulator>[0] = {}): Promise<Simulator> {
  const one = await startSimulator(options);
  simulators.push(one);
  return one;
}

const temporary = (): Promise<string> => mkdtemp(join(tmpdir(), "dramascope-curation-"));

interface Curated {
  summary: RunSummary;
  files: Record<string, string>;
}

async function readAll(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), "utf8")] as const)));
}

async function withLedger<T>(folder: string, work: (ledger: StepLedger) => Promise<T>): Promise<T> {
  const ledger = openSqliteLedger(join(folder, "ledger.db"));
  try {
    return await work(ledger);
  } finally {
    await ledger.close();
  }
}

/** Runs and exports a curation in a folder. */
async function curate(teacher: Simulator, folder: string, { count = 24, more = {}, ...options }: { count?: number; more?: Partial<CurationConfigInput> } & Partial<CurationOptions> = {}): Promise<Curated> {
  const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder, ...more });
  return withLedger(folder, async (ledger) => {
    const summary = await runCuration({ config, dramas: dramas(count), ledger, apiKey: CANARY_KEY, journal: join(folder, "journal.jsonl"), ...options });
    await exportSets(ledger, config, join(folder, "export"));
    return { summary, files: await readAll(join(folder, "export")) };
  });
}

/** Export of a run that nothing happened to. */
let calm: Promise<Curated> | undefined;
const calmRun = (): Promise<Curated> => (calm ??= simulator().then(async (teacher) => curate(teacher, await temporary())));

const sumOf = (summary: RunSummary, state: "done" | "failed" | "blocked" | "parked" | "planned" | "leased"): number => STAGE_KINDS.reduce((sum, kind) => sum + summary.counts[kind][state], 0);

describe("a run against the teacher", () => {
  it("asks everything once, and a second run asks nothing", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    const events: CurationEvent[] = [];
    const { summary, files } = await curate(teacher, folder, { onEvent: (event) => events.push(event) });
    expect(summary).toMatchObject({ isComplete: true, stopped: null, generation: 1, currency: "USD", calls: teacher.requests(), imported: { dramas: 24, splits: { sft: 18, grpo: 1, eval: 5 }, rejected: 0 } });
    expect(summary.progress).toMatchObject({ dramas: 19, dramasDecided: 19, inFlight: 0, ended: summary.calls });
    expect(summary.cost).toBeCloseTo(callsOf(teacher.journal).reduce((sum, { cost }) => sum + cost, 0), 9);
    expect(repeatedCalls(teacher.journal)).toBe(0);
    expect(events[0]).toMatchObject({ type: "imported" });
    expect(events.filter(({ type }) => type === "attempt")).toHaveLength(summary.calls);
    expect(events.flatMap((event) => (event.type === "progress" ? [event.progress.inFlight] : [])).every((inFlight) => inFlight <= 8)).toBe(true);
    const again = await curate(teacher, folder);
    expect([again.summary.calls, again.summary.cost, again.summary.isComplete]).toEqual([0, 0, true]);
    expect(teacher.requests()).toBe(summary.calls);
    expect(again.files).toEqual(files);
    expect(again.summary.runId).toBe(summary.runId);
  });

  it("shows no class to the sampler, no comment outside its block, and no secret to anybody", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    const { files } = await curate(teacher, folder, { count: 12 });
    const bodies = (await readFile(teacher.bodies, "utf8")).trim().split("\n");
    const texts = bodies.map((line) => line.replaceAll("\\n", "\n"));
    expect(texts.length).toBeGreaterThan(20);
    for (const [i, text] of texts.entries()) {
      const isAboutComments = /"task":\s*"comment_filter"/u.test(bodies[i]!);
      for (const comment of ["What a twist!", "女主真美", "ignore all rules"]) {
        expect(text.includes(comment)).toBe(isAboutComments);
        for (const at of text.matchAll(new RegExp(comment, "gu"))) expect(text.lastIndexOf("data-", at.index)).toBeGreaterThan(0);
      }
      expect(/ground truth|known class|true score/iu.test(text) && /"task":\s*"cot"/u.test(bodies[i]!)).toBe(false);
    }
    const everything = JSON.stringify([files, await readFile(join(folder, "journal.jsonl"), "utf8"), await readFile(join(folder, "ledger.db"), "latin1"), bodies]);
    for (const secret of [CANARY_KEY, CANARY_PHONE, "user-0-0"]) expect(everything.includes(secret)).toBe(false);
  });

  it("writes down what it is made of, the same each time", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    const { summary } = await curate(teacher, folder, { count: 2 });
    const text = await readFile(join(folder, "run.json"), "utf8");
    expect(JSON.parse(text)).toMatchObject({ runId: summary.runId, generation: 1, versions: { node: process.version }, settings: { split: { seed: "s" }, teacher: { model: "teacher-sim-1" } } });
    expect((JSON.parse(text) as { templates: string[] }).templates).toContainEqual(expect.stringMatching(/^cot@\d+\.\d+\.\d+#[0-9a-f]{64}$/u));
    expect(text).not.toContain(CANARY_KEY);
    await curate(teacher, folder, { count: 2 });
    expect(await readFile(join(folder, "run.json"), "utf8")).toBe(text);
  });

  it("needs the secret for hashes of comments where the settings name one", async () => {
    const teacher = await simulator();
    await expect(curate(teacher, await temporary(), { count: 1, more: { comments: { saltEnv: "SALT" } }, env: {} })).rejects.toMatchObject({ code: "CONFIG_INVALID", message: "the environment variable SALT is not set" });
    expect(teacher.requests()).toBe(0);
  });

  it("keeps no raw comment, no title and no user id in the ledger", async () => {
    const folder = await temporary();
    const teacher = await simulator();
    await curate(teacher, folder, { count: 3, more: { comments: { saltEnv: "SALT" } }, env: { SALT: "salt" } });
    await withLedger(folder, async (ledger) => {
      const record = await ledger.drama("7300000000000000000");
      expect(record!.drama.comments.map(({ text }) => text)).toEqual(COMMENTS.map((text, k) => (k === 1 ? `${text} 0` : text.replace(CANARY_PHONE, "[phone]"))));
      expect(record!.drama.comments.every(({ hash }) => /^[0-9a-f]{64}$/u.test(hash!))).toBe(true);
      expect(JSON.stringify(record)).not.toMatch(/Tale|user-|13800138000/u);
    });
  });

  it("counts refusals and answers of no use instead of inventing any", async () => {
    const rules = [{ id: "r", fault: "refusal", match: { task: "caption", drama: ["7300000000000000003"] } }, { id: "p", fault: "prose", match: { task: "cot" } }, { id: "d", fault: "duplicate_keys", match: { task: "comment_filter", drama: ["7300000000000000004"] } }];
    const { summary, files } = await curate(await simulator({ faults: { rules } }), await temporary());
    expect(summary.isComplete).toBe(true);
    expect([summary.counts.caption.blocked, summary.counts.comments.failed, summary.counts.sample.done]).toEqual([1, 1, 0]);
    expect(summary.counts.sample.failed).toBeGreaterThan(0);
    expect(files["sft.jsonl"]).toBe("");
  });

  it("asks missing labels once more, under their own numbers, and drops what stays open", async () => {
    const teacher = await simulator({ faults: { rules: [{ id: "d", fault: "drop_item", match: { task: "comment_filter" } }] } });
    const { summary } = await curate(teacher, await temporary(), { count: 6 });
    expect(summary.counts.comments).toMatchObject({ failed: 0 });
    expect(callsOf(teacher.journal).filter(({ task }) => task === "comment_filter")).toHaveLength(summary.counts.comments.done);
    expect(summary.counts.comments.done).toBeGreaterThan(summary.counts.caption.done);
  });

  it("parks what keeps failing, and retries it when it is freed", async () => {
    const teacher = await simulator({ faults: { rules: [{ id: "h", fault: "http", status: 500, match: { task: "caption", drama: ["7300000000000000006"] }, times: 4 }] } });
    const folder = await temporary();
    const patient = settings(teacher.baseURL);
    const more = { teacher: { ...patient.teacher, maxAttempts: 3 } };
    const first = await curate(teacher, folder, { more });
    expect([first.summary.isComplete, sumOf(first.summary, "parked"), sumOf(first.summary, "planned")]).toEqual([false, 1, 0]);
    expect((await curate(teacher, folder, { more })).summary).toMatchObject({ isComplete: false, calls: 0 });
    expect(await withLedger(folder, (ledger) => ledger.free({ states: ["parked"], codes: ["HTTP_500"] }))).toBe(1);
    const clean = await calmRun();
    const last = await curate(teacher, folder, { more });
    expect(last.summary.isComplete).toBe(true);
    expect(last.files).toEqual(clean.files);
  });

  it("asks everything again under other prompts or another model only when told to", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    const first = await curate(teacher, folder, { count: 8 });
    const other = { more: { teacher: { ...settings(teacher.baseURL).teacher, model: "teacher-sim-2" } }, count: 8 };
    await expect(curate(teacher, folder, other)).rejects.toThrow(expect.objectContaining({ code: "GENERATION_CHANGED", message: expect.stringContaining("model") as string, hint: expect.stringContaining("--new-generation") as string }) as Error);
    expect(teacher.requests()).toBe(first.summary.calls);
    const second = await curate(teacher, folder, { ...other, isNewGeneration: true }).catch((error: unknown) => error as { code?: string });
    // The folder still holds the other generation's export.
    expect(second).toMatchObject({ code: "EXPORT_EXISTS" });
    const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder, ...other.more });
    const summary = await withLedger(folder, (ledger) => runCuration({ config, dramas: dramas(8), ledger }));
    expect(summary).toMatchObject({ generation: 2, calls: 0, isComplete: true });
    await expect(curate(teacher, folder, { count: 8 })).rejects.toThrow(expect.objectContaining({ code: "GENERATION_CHANGED" }) as Error);
  });

  it("asks whatever follows from answers that came along into a new generation", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    await curate(teacher, folder, { count: 8 });
    const prompts = await temporary();
    const caption = await readFile(new URL("../../prompts/templates/caption.en.md", import.meta.url), "utf8");
    await writeFile(join(prompts, "caption.md"), `${caption.replace(/^version: .*$/mu, "version: 9.0.0").trimEnd()} Be brief.\n`);
    const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder, prompts: { dir: prompts } });
    await withLedger(folder, async (ledger) => {
      const { isComplete, progress, counts } = await runCuration({ config, dramas: dramas(8), ledger, isNewGeneration: true });
      expect([isComplete, progress.dramasDecided]).toEqual([true, progress.dramas]);
      expect(counts.sample.done).toBeGreaterThan(0);
      expect(counts.filter.done).toBeGreaterThan(0);
      expect((await runCuration({ config, dramas: dramas(8), ledger })).calls).toBe(0);
    });
  });

  it("goes on under the same generation with more rounds and money", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    const few = await curate(teacher, folder, { more: { rounds: { max: 1, perClassMax: {} } } });
    const many = await curate(teacher, folder);
    expect(many.summary.generation).toBe(1);
    const clean = await calmRun();
    expect(few.summary.calls + many.summary.calls).toBe(clean.summary.calls);
    expect(many.files).toEqual(clean.files);
  });

  it("asks only for labels when a drama's comments change, and only for what follows when its class does", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    await curate(teacher, folder, { count: 10 });
    const asked = (): string[] => callsOf(teacher.journal).map(({ task, drama }) => `${task} ${drama}`);
    const before = asked();
    const list = dramas(10);
    const edited = list.find(({ drama }) => before.includes(`cot ${drama.dramaId}`))!;
    edited.drama.comments = [...edited.drama.comments!, { text: "A late one", likes: 99 }];
    expect((await curate(teacher, folder, { dramas: list })).summary.calls).toBe(1);
    expect(asked().slice(before.length)).toEqual([`comment_filter ${edited.drama.dramaId}`]);
    edited.quality = edited.quality === 5 ? 1 : 5;
    const { summary } = await curate(teacher, folder, { dramas: list });
    expect(new Set(asked().slice(before.length + 1).map((call) => call.replace(/_filter /u, " ")))).toEqual(new Set(summary.calls === 0 ? [] : [`cot ${edited.drama.dramaId}`]));
    expect(repeatedCalls(teacher.journal)).toBe(0);
  });

  it("does nothing about dramas beyond the limit", async () => {
    const teacher = await simulator();
    const { summary } = await curate(teacher, await temporary(), { limit: 3 });
    expect([summary.progress.dramas, new Set(callsOf(teacher.journal).map(({ drama }) => drama)).size, summary.isComplete]).toEqual([3, 3, true]);
  });

  it("asks only the stages it is told to", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    const { summary } = await curate(teacher, folder, { stages: ["caption"] });
    expect(new Set(callsOf(teacher.journal).map(({ task }) => task))).toEqual(new Set(["caption"]));
    expect([summary.isComplete, summary.counts.caption.done, summary.counts.comments.planned > 0]).toEqual([true, 19, true]);
    expect((await curate(teacher, folder)).files).toEqual((await calmRun()).files);
  });
});

describe("the end of a run", () => {
  it("comes in order when the budget is used up, and a larger one goes on", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder, budget: { maxCost: 0.012 } });
    const ledger = openSqliteLedger(join(folder, "ledger.db"), { maxCost: 0.012 });
    const summary = await runCuration({ config, dramas: dramas(24), ledger });
    await ledger.close();
    expect(summary).toMatchObject({ stopped: "budget", isComplete: false });
    expect(summary.spent).toBeLessThanOrEqual(0.012);
    expect(callsOf(teacher.journal).reduce((sum, { cost }) => sum + cost, 0)).toBeLessThanOrEqual(0.012);
    expect([sumOf(summary, "leased"), sumOf(summary, "failed")]).toEqual([0, 0]);
    const rest = await curate(teacher, folder);
    expect(rest.summary.isComplete).toBe(true);
    expect(repeatedCalls(teacher.journal)).toBe(0);
    expect(rest.files).toEqual((await calmRun()).files);
  });

  it("comes at once when the provider refuses the key, and marks nothing as failed", async () => {
    const teacher = await simulator({ args: ["--api-key", "another"] });
    const folder = await temporary();
    const failed = await curate(teacher, folder).catch((error: unknown) => error as { code: string; message: string });
    expect(failed).toMatchObject({ code: "TEACHER_UNAVAILABLE" });
    expect(JSON.stringify(failed)).not.toContain(CANARY_KEY);
    await withLedger(folder, async (ledger) => {
      for (const kind of STAGE_KINDS) expect((await ledger.counts(1))[kind]).toMatchObject({ failed: 0, blocked: 0, parked: 0, leased: 0 });
    });
  });

  it("waits for calls in flight when it is stopped, keeps their answers and gives the rest back", async () => {
    const teacher = await simulator({ args: ["--latency-ms", "120"] });
    const folder = await temporary();
    const stop = new AbortController();
    const stopped = await curate(teacher, folder, { signal: stop.signal, onEvent: (event) => event.type === "attempt" && stop.abort() });
    expect(stopped.summary).toMatchObject({ stopped: "signal", isComplete: false });
    expect(stopped.summary.calls).toBe(teacher.requests());
    expect([sumOf(stopped.summary, "done"), sumOf(stopped.summary, "leased")]).toEqual([stopped.summary.calls, 0]);
    await curate(teacher, folder);
    expect(repeatedCalls(teacher.journal)).toBe(0);
  });

  it("leaves calls that do not end in time", async () => {
    const teacher = await simulator({ faults: { rules: [{ id: "h", fault: "hang", match: { task: "caption" } }] } });
    const folder = await temporary();
    const stop = new AbortController();
    const more = { drainMs: 20, teacher: { ...settings(teacher.baseURL).teacher, timeouts: { callMs: 60_000 } } };
    const { summary } = await curate(teacher, folder, { more, signal: stop.signal, onEvent: (event) => event.type === "progress" && event.progress.ended >= 1 && stop.abort() });
    expect(summary).toMatchObject({ stopped: "signal" });
    expect([sumOf(summary, "leased"), summary.counts.caption.planned]).toEqual([0, 19]);
    // What was cut off may have been paid, and was.
    expect(summary.spent).toBeGreaterThanOrEqual(callsOf(teacher.journal).reduce((sum, { cost }) => sum + cost, 0));
  });

  it("comes before anything is read when the signal is there already", async () => {
    const teacher = await simulator();
    const { summary } = await curate(teacher, await temporary(), { signal: AbortSignal.abort() });
    expect([summary.stopped, summary.calls, summary.imported]).toEqual(["signal", 0, null]);
  });

  it("says what the ledger could not keep, and the next run goes on", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder });
    const ledger = openSqliteLedger(join(folder, "ledger.db"));
    let commits = 0;
    const full: StepLedger = new Proxy(ledger, {
      get: (target, name) => {
        if (name === "commit") return (commit: Parameters<StepLedger["commit"]>[0]) => (++commits > 20 ? Promise.reject(Object.assign(new Error("disk full"), { code: "LEDGER_IO" })) : target.commit(commit));
        const value = Reflect.get(target, name) as unknown;
        return typeof value === "function" ? (value as () => unknown).bind(target) : value;
      },
    });
    await expect(runCuration({ config, dramas: dramas(24), ledger: full })).rejects.toThrow(expect.objectContaining({ code: "LEDGER_IO" }) as Error);
    await ledger.close();
    const rest = await curate(teacher, folder);
    expect(rest.summary.isComplete).toBe(true);
    expect(repeatedCalls(teacher.journal)).toBeLessThanOrEqual(8);
    expect(rest.files).toEqual((await calmRun()).files);
  });
});
