import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { STAGE_KINDS, STEP_STATES, type StageKind } from "@dramascope/curation";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dramas } from "../simulator.ts";
import { invented } from "./answers-given.ts";
import { startBench, TASKS, type Bench, type Rule, type Trial } from "./trial.ts";

const DRAMAS = dramas(16);
const KINDS: Readonly<Record<string, StageKind>> = { caption: "caption", cot: "sample", cot_filter: "filter", comment_filter: "comments" };

/** Passing trouble, and answers that are only odd. */
const PASSING = ["security_retry", "error_in_200", "bad_http", "reset", "reset_mid_body", "length_lies", "truncated_json", "invalid_utf8", "wrong_content_type", "json_as_text", "empty_body", "bad_gzip", "no_choices"];
const READ = ["missing_usage", "zero_usage", "reasoning_content", "proto_keys", "fenced", "think_tags", "string_answer", "extra_item"];
/** Answers that nothing can be made of, or less. */
const LASTING = ["refusal", "content_filter", "content_blocked", "empty_content", "null_content", "length", "duplicate_keys", "bad_schema", "out_of_range", "prose", "huge_content", "keyed_labels", "drop_item", "repeat_item"];

/** Faults that strike a share of all calls between them; one more call each is refused, late, lost or led astray. */
const rulesFor = (faults: readonly string[], share: number): Rule[] => [
  ...["http_429", "hang", "redirect"].map((fault): Rule => ({ fault, nth: 1, scope: "rule", ...(fault === "http_429" ? { retryAfter: 0.02 } : {}) })),
  ...faults.map((fault, i): Rule => ({
    fault,
    probability: share / (faults.length - i * share),
    ...(fault === "huge_content" ? { bytes: 300_000 } : {}),
    // As a summary it is taken for what it says.
    ...(fault === "prose" ? { match: { task: ["cot", "cot_filter", "comment_filter"] } } : {}),
  })),
  { fault: "http", status: 503, probability: share / faults.length },
];

let bench: Bench;
let calm: Trial;
beforeAll(async () => {
  bench = await startBench(DRAMAS);
  calm = await bench.trial({ dramas: DRAMAS });
});
afterAll(() => bench.teacher.stop());

/** A drama's lines in all files of an export. */
const linesOf = ({ files }: Trial, drama: string): string[] => [...files].flatMap(([name, lines]) => (name.endsWith(".jsonl") ? lines.filter((line) => line.includes(`"dramaId":"${drama}"`)) : []));

describe("faults of all kinds at once", () => {
  it("leave no trace when they pass", async () => {
    const trial = await bench.trial({ dramas: DRAMAS, rules: rulesFor([...PASSING, ...READ], 0.2) });
    const struck = trial.calls.filter(({ fault }) => fault !== null);
    expect(struck.length / trial.calls.length).toBeGreaterThan(0.12);
    expect(trial.summary).toMatchObject({ isComplete: true, progress: { failed: 0, blocked: 0, parked: 0 } });
    expect(trial.files).toEqual(calm.files);
  });

  it("change only dramas that are named, and invent nothing", async () => {
    const trial = await bench.trial({ dramas: DRAMAS, rules: rulesFor([...PASSING, ...READ, ...LASTING], 0.2) });
    expect(trial.summary.isComplete).toBe(true);
    const hit = new Set(trial.calls.flatMap(({ fault, drama }) => (fault !== null && LASTING.includes(fault) ? [drama] : [])));
    expect(hit.size).toBeGreaterThan(2);
    for (const [drama, { problems, unresolved }] of trial.outcomes) {
      const isNamed = problems.length > 0 || unresolved > 0;
      if (!hit.has(drama)) expect([drama, linesOf(trial, drama), isNamed]).toEqual([drama, linesOf(calm, drama), false]);
    }
    // Each step that was of no use stands for a call that was struck.
    for (const { kind, drama, state } of trial.rows.filter((row) => row.state !== "done")) expect([state, trial.calls.some(({ fault, task, drama: other }) => fault !== null && LASTING.includes(fault) && KINDS[task] === kind && other === drama)]).toEqual([state, true]);
    // Whatever came before, the simulator gives the same call the same answer.
    await bench.faults([]);
    expect(await invented(bench, trial)).toEqual([]);
  });
});

describe("a provider that refuses every call", () => {
  const FATAL: readonly (readonly [name: string, rule: Rule])[] = [
    ["a wrong key", { fault: "http", status: 401, code: "invalid_api_key" }],
    ["an account without money", { fault: "http", status: 402 }],
    ["an account overdue", { fault: "http", status: 403, code: "AccountOverdueError" }],
    ["an unknown model", { fault: "http", status: 404, code: "model_not_found" }],
    ["an empty purse behind a 429", { fault: "http_429", code: "insufficient_quota" }],
    ["a request that it never takes", { fault: "http", status: 400, code: "weird" }],
    ["an address that leads elsewhere", { fault: "redirect" }],
  ];

  const some = DRAMAS.slice(0, 4);
  let quiet: Trial;
  beforeAll(async () => {
    quiet = await bench.trial({ dramas: some });
  });

  it.each(FATAL)("for %s ends the run with nothing marked as failed, and the next one goes on", async (_name, rule) => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-trial-"));
    await expect(bench.trial({ dramas: some, rules: [rule], folder })).rejects.toMatchObject({ code: "TEACHER_UNAVAILABLE" });
    const rest = await bench.trial({ dramas: some, folder });
    expect([rest.summary.isComplete, rest.files]).toEqual([true, quiet.files]);
  });
});

describe("the sums of a report", () => {
  const few = DRAMAS.slice(0, 5);
  const rule = fc.record({ fault: fc.constantFrom(...PASSING, ...READ, ...LASTING), match: fc.record({ task: fc.subarray([...TASKS], { minLength: 1 }) }), probability: fc.double({ min: 0.05, max: 0.5, noNaN: true }) });
  const plan = fc.record({
    rules: fc.array(rule, { maxLength: 6 }),
    votes: fc.constantFrom(1, 3),
    rounds: fc.record({ min: fc.integer({ min: 1, max: 2 }), max: fc.integer({ min: 2, max: 4 }), stopAfterValid: fc.integer({ min: 1, max: 2 }), perClassMax: fc.constant({}) }),
    shape: fc.constantFrom("indexed" as const, "keyed" as const),
    mode: fc.constantFrom("split-first" as const, "yield-first" as const),
    maxAttempts: fc.constantFrom(2, 8),
    stopAfter: fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined }),
  });

  it("are the ledger's, and the simulator's, whatever goes wrong and wherever a run stops", async () => {
    await fc.assert(
      fc.asyncProperty(plan, async ({ rules, votes, rounds, shape, mode, maxAttempts, stopAfter }) => {
        const stop = new AbortController();
        const base = { baseURL: bench.teacher.baseURL, model: "teacher-sim-1", capabilities: { metadata: true }, limits: { inFlight: 8 }, timeouts: { callMs: 500 }, maxTokens: 512, maxAttempts, backoffMs: 2 };
        const { report, rows, calls, summary, outcomes } = await bench.trial({
          dramas: few,
          rules: rules.map((one) => ({ ...one, ...(one.fault === "huge_content" ? { bytes: 210_000 } : {}) })),
          more: { teacher: { ...base, prices: { currency: "USD", date: "2026-11-01", bands: [{ in: 0.25, out: 2 }] } }, filter: { votes }, rounds, comments: { shape }, split: { mode, seed: "s", evalPerClass: 0, sftSize: 4 } },
          run: stopAfter === undefined ? {} : { signal: stop.signal, onEvent: (event) => event.type === "progress" && event.progress.ended >= stopAfter && stop.abort() },
        });
        const counted = Object.fromEntries(STAGE_KINDS.map((kind) => [kind, Object.fromEntries(STEP_STATES.map((state) => [state, rows.filter((row) => row.kind === kind && row.state === state).length]))]));
        expect(report.steps).toEqual(counted);
        expect(summary.counts).toEqual(counted);
        expect([summary.calls, report.cost.spending.calls]).toEqual([calls.length, calls.length]);
        expect(summary.spent).toBeCloseTo(report.cost.spent, 9);
        const ended = rows.filter(({ state }) => state === "done" || state === "failed" || state === "blocked");
        const dramasWith = (kind: StageKind): Set<string> => new Set(ended.flatMap((row) => (row.kind === kind ? [row.drama] : [])));
        const reached = (name: string): number => [...report.sft, ...report.grpo].reduce((sum, stage) => sum + (stage.name === name ? stage.count : 0), 0);
        expect(reached("dramas")).toBe(few.length);
        expect(reached("captioned")).toBe([...outcomes.values()].filter(({ caption }) => caption !== null).length);
        // A round counts once it has its verdict; in yield-first mode dramas without a valid one are sampled, too, but not for SFT.
        expect(reached("sampled")).toBeLessThanOrEqual(dramasWith("sample").size);
        if (summary.isComplete && mode === "split-first") expect(reached("sampled")).toBe(dramasWith("sample").size);
        expect(report.blocked.reduce((sum, { n }) => sum + n, 0)).toBe(rows.filter(({ state }) => state === "blocked").length);
        expect(report.unusable.reduce((sum, { n }) => sum + n, 0)).toBe(rows.filter(({ state }) => state === "failed").length);
      }),
      { numRuns: 24, seed: 7 },
    );
  });
});
