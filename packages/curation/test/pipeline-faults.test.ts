import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { curationReport, exportSets, openSqliteLedger, parseCurationConfig, runCuration, STAGE_KINDS, type CurationReport, type RunSummary, type StepRow } from "@dramascope/curation";
import { startSimulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { createRandom } from "@dramascope/schema";
import { describe, expect, it } from "vitest";
import { callsOf, dramas, settings, type JournalCall } from "./simulator.ts";

const COUNT = 40;
const TASKS = ["caption", "cot", "cot_filter", "comment_filter"] as const;
const JSON_TASKS = ["cot", "cot_filter", "comment_filter"] as const;

interface Rule {
  id: string;
  fault: string;
  match: object;
  [name: string]: unknown;
}

interface Ran {
  summary: RunSummary;
  files: Record<string, string>;
  rows: StepRow[];
  calls: JournalCall[];
  report: CurationReport;
}

async function runWith(rules: readonly Rule[], more: object = {}): Promise<Ran> {
  const teacher = await startSimulator({ faults: { rules }, bodies: false });
  const folder = await mkdtemp(join(tmpdir(), "dramascope-faults-"));
  const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder, split: { seed: "s", evalPerClass: 0, sftSize: 36 }, ...more });
  const ledger = openSqliteLedger(join(folder, "ledger.db"));
  try {
    const summary = await runCuration({ config, dramas: dramas(COUNT), ledger });
    await exportSets(ledger, config, join(folder, "export"));
    const names = (await readdir(join(folder, "export"))).sort();
    const files = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(join(folder, "export", name), "utf8")] as const)));
    const rows: StepRow[] = [];
    for await (const row of ledger.stream({})) rows.push(row);
    return { summary, files, rows, calls: callsOf(teacher.journal), report: await curationReport(ledger, config) };
  } finally {
    await ledger.close();
    await teacher.stop();
  }
}

/** First parts of lines in which two files differ. */
function differences(a: string, b: string): string[] {
  const [left, right] = [a.split("\n"), b.split("\n")];
  return Array.from({ length: Math.max(left.length, right.length) }, (_, i) => i).flatMap((i) => {
    if (left[i] === right[i]) return [];
    const at = Array.from(left[i] ?? "").findIndex((letter, k) => letter !== right[i]?.[k]);
    return [`${left[i]?.slice(at - 60, at + 60)} | ${right[i]?.slice(at - 60, at + 60)}`];
  });
}

/** Each fault once for each task: the first call that no rule before has taken. */
const once = (faults: readonly (readonly [fault: string, more?: object])[], tasks: readonly string[]): Rule[] =>
  faults.flatMap(([fault, more = {}]) => tasks.map((task) => ({ id: `${fault} ${JSON.stringify(more)} ${task}`, fault, match: { task }, times: 1, scope: "rule", ...more })));

const PASSING = [
  ["http_429", { retryAfter: 0.02 }], ["http_429", { retryAfter: { date: 0 } }], ["http", { status: 408 }], ["http", { status: 409 }], ["http", { status: 500 }], ["http", { status: 503 }], ["security_retry"],
  ["error_in_200"], ["redirect"], ["bad_http"], ["reset"], ["late", { delayMs: 30 }], ["slow_body", { chunkBytes: 100, chunkDelayMs: 1 }], ["reset_mid_body"], ["length_lies"], ["truncated_json"], ["invalid_utf8"],
  ["wrong_content_type"], ["json_as_text"], ["empty_body"], ["bad_gzip"], ["no_choices"], ["length"], ["missing_usage"], ["zero_usage"], ["reasoning_content"],
] as const;

describe("a run", () => {
  it("exports the same when everything that passes goes wrong once in every stage", async () => {
    const clean = await runWith([]);
    const odd = once([["fenced"], ["prefixed"], ["think_tags"], ["trailing_comma"], ["string_answer"], ["proto_keys"]], JSON_TASKS);
    // Not missing labels: these are asked for once more, which the record's step keys tell.
    const labels = once([["extra_item"]], ["comment_filter"]);
    const rules = [...once(PASSING, TASKS), ...once([["hang"]], ["caption", "comment_filter"]), ...odd, ...labels];
    const faulty = await runWith(rules);
    const struck = new Set(faulty.calls.flatMap(({ fault }) => fault ?? []));
    expect([...new Set(rules.map(({ fault }) => fault))].filter((fault) => !struck.has(fault))).toEqual([]);
    expect(faulty.summary).toMatchObject({ isComplete: true, progress: { failed: 0, blocked: 0, parked: 0 } });
    for (const name of ["sft.jsonl", "grpo.jsonl", "eval.jsonl"]) expect(differences(clean.files[name]!, faulty.files[name]!)).toEqual([]);
    expect(faulty.summary.calls).toBe(faulty.calls.length);
  });

  it("names what is refused and what is of no use, once in every stage, and goes on", async () => {
    const refusals = once([["refusal"], ["content_filter"], ["content_blocked"]], TASKS);
    const empty = once([["empty_content"], ["null_content"]], TASKS);
    const bad = once([["duplicate_keys"], ["bad_schema"], ["out_of_range"], ["prose"], ["deep_json", { depth: 1000 }], ["huge_content"]], JSON_TASKS);
    const { summary, rows, report } = await runWith([...refusals, ...empty, ...bad, { id: "cut", fault: "length", match: { task: "caption", drama: ["7300000000000000039"] } }]);
    expect(summary.isComplete).toBe(true);
    for (const kind of STAGE_KINDS) expect([kind, summary.counts[kind].blocked]).toEqual([kind, 3]);
    const codes = Object.fromEntries(STAGE_KINDS.map((kind) => [kind, rows.filter((row) => row.kind === kind && row.state === "failed").map(({ code }) => code).sort()]));
    expect(codes).toEqual({
      caption: ["EMPTY", "EMPTY", "TRUNCATED"],
      sample: ["DUPLICATE_KEY", "EMPTY", "EMPTY", "NO_JSON", "SCORE_MISSING", "SCORE_RANGE", "TOO_DEEP", "TOO_LARGE"],
      filter: ["DUPLICATE_KEY", "EMPTY", "EMPTY", "NO_JSON", "TOO_DEEP", "TOO_LARGE", "VALID_FORM", "VALID_MISSING"],
      // Labels out of range are no labels: these are asked for once more.
      comments: ["DUPLICATE_KEY", "EMPTY", "EMPTY", "LABELS_FORM", "NO_JSON", "TOO_DEEP", "TOO_LARGE"],
    });
    for (const row of rows.filter(({ state, code }) => state === "failed" && !["EMPTY", "TOO_LARGE"].includes(code!))) expect(row.content).toBeTruthy();
    expect(report.generation).toBe(1);
  });

  it("has a report whose sums are the ledger's, whatever went wrong", async () => {
    const faults = ["refusal", "content_filter", "prose", "duplicate_keys", "out_of_range", "bad_schema", "empty_content", "drop_item", "repeat_item", "length", "reset", "fenced", "http_429"];
    for (const seed of [1, 2, 3]) {
      const random = createRandom(seed);
      const rules = random.shuffle([...faults]).map((fault, i) => ({ id: `r${i}`, fault, match: { task: TASKS[random.below(4)]! }, probability: 0.03 + 0.2 * random.uniform(), ...(fault === "http_429" ? { retryAfter: 0.01 } : {}) }));
      const { summary, rows, report } = await runWith(rules, { filter: { votes: 3 }, rounds: { max: 3, min: 2, perClassMax: {} } });
      expect(summary.counts.caption.parked + summary.counts.sample.parked).toBe(0);
      expect(rows).toHaveLength(STAGE_KINDS.reduce((sum, kind) => sum + Object.values(summary.counts[kind]).reduce((some, count) => some + count, 0), 0));
      expect(report.generation).toBe(1);
    }
  });
});
