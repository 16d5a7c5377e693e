import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dramas } from "../simulator.ts";
import { invented } from "./answers-given.ts";
import { startBench, TASKS, type Bench, type Rule, type Task, type Trial } from "./trial.ts";

const DRAMAS = dramas(12);

/**
 * How a call ends that a fault strikes:
 * - `passes`: it is asked again, and the export knows nothing of it;
 * - `read`: the answer is read as if nothing were odd about it;
 * - `other model`: the same, but for the name of the model;
 * - `as text`: what was said is taken as it is;
 * - `blocked CODE`, `failed CODE`: named by the report, and nothing comes of the answer;
 * - `open N`: so many comments get no label, `open all` none of them.
 */
type Ending = "passes" | "read" | "other model" | "as text" | `blocked ${string}` | `failed ${string}` | "open 1" | "open all";

type Endings = Ending | Readonly<Record<Task, Ending>>;

/** Endings by task: plain text, JSON of a sample, of a verdict, of labels. */
const by = (caption: Ending, cot: Ending, cot_filter: Ending, comment_filter: Ending): Endings => ({ caption, cot, cot_filter, comment_filter });
const json = (caption: Ending, ending: Ending): Endings => by(caption, ending, ending, ending);
const labels = (ending: Ending): Endings => by("read", "read", "read", ending);

const MATRIX: readonly (readonly [fault: string, more: Readonly<Record<string, unknown>>, endings: Endings])[] = [
  ["http_429", { retryAfter: 0.02 }, "passes"],
  ["http_429", { retryAfter: { date: 0 } }, "passes"],
  ["http_429", {}, "passes"],
  ...[408, 409, 500, 502, 503, 504].map((status) => ["http", { status }, "passes"] as const),
  ["http", { status: 400, code: "weird" }, "failed weird"],
  ["http", { status: 413 }, "failed REQUEST_TOO_LARGE"],
  ["http", { status: 404, code: "FileNotFound" }, "passes"],
  ["content_blocked", {}, "blocked InputTextSensitiveContentDetected"],
  ["security_retry", {}, "passes"],
  ["error_in_200", {}, "passes"],
  ["redirect", {}, "passes"],
  ["bad_http", {}, "passes"],
  ["reset", {}, "passes"],
  ["hang", {}, "passes"],
  ["hang", { delayMs: 20 }, "passes"],
  ["late", { delayMs: 30 }, "passes"],
  ["late", { delayMs: 2000 }, "passes"],
  ["slow_body", { chunkBytes: 100, chunkDelayMs: 1 }, "passes"],
  ["slow_body", { chunkBytes: 8, chunkDelayMs: 40 }, "passes"],
  ["slow_stream", { chunkBytes: 100, chunkDelayMs: 1 }, "passes"],
  ["reset_mid_body", {}, "passes"],
  ["length_lies", {}, "passes"],
  ["truncated_json", {}, "passes"],
  ["invalid_utf8", {}, "passes"],
  ["wrong_content_type", {}, "passes"],
  ["json_as_text", {}, "passes"],
  ["empty_body", {}, "passes"],
  ["bad_gzip", {}, "passes"],
  ["no_choices", {}, "passes"],
  ["missing_usage", {}, "read"],
  ["zero_usage", {}, "read"],
  ["reasoning_content", {}, "read"],
  ["wrong_model", {}, "other model"],
  ["refusal", {}, "blocked REFUSAL"],
  ["content_filter", {}, "blocked CONTENT_FILTER"],
  ["empty_content", {}, "failed EMPTY"],
  ["null_content", {}, "failed EMPTY"],
  ["length", { times: 1 }, "passes"],
  ["length", {}, "failed TRUNCATED"],
  ["duplicate_keys", {}, json("read", "failed DUPLICATE_KEY")],
  ["bad_schema", {}, by("failed NOT_TEXT", "failed SCORE_MISSING", "failed VALID_MISSING", "failed LABELS_FORM")],
  ["out_of_range", {}, by("read", "failed SCORE_RANGE", "failed VALID_FORM", "open all")],
  ["prose", {}, json("as text", "failed NO_JSON")],
  ["deep_json", { depth: 1000 }, json("failed NOT_TEXT", "failed TOO_DEEP")],
  ["deep_json", {}, "failed TOO_LARGE"],
  ["huge_content", { bytes: 300_000 }, "failed TOO_LARGE"],
  ["huge_content", { bytes: 9_000_000 }, "failed TOO_LARGE"],
  ["proto_keys", {}, "read"],
  ["fenced", {}, "read"],
  ["prefixed", {}, json("as text", "read")],
  ["think_tags", {}, "read"],
  ["trailing_comma", {}, json("as text", "read")],
  ["string_answer", {}, "read"],
  ["keyed_labels", {}, labels("failed LABELS_FORM")],
  ["drop_item", {}, labels("open 1")],
  ["extra_item", {}, labels("read")],
  ["repeat_item", {}, labels("open 1")],
];

const endingOf = (endings: Endings, task: Task): Ending => (typeof endings === "string" ? endings : endings[task]);
const KIND_OF = { caption: "caption", cot: "sample", cot_filter: "filter", comment_filter: "comments" } as const;

let bench: Bench;
let calm: Trial;
/** Dramas of which one call each is struck. They come late, when the provider has answered others. */
let victims: Readonly<Record<Task, string>>;
beforeAll(async () => {
  bench = await startBench(DRAMAS);
  calm = await bench.trial({ dramas: DRAMAS });
  const judged = new Set(calm.calls.filter(({ task, round }) => task === "cot_filter" && Number(round) === 1).map(({ drama }) => drama));
  const order = [...calm.outcomes.keys()].reverse();
  const isSampled = (drama: string): boolean => calm.outcomes.get(drama)!.rounds.length > 0;
  const taken = new Set<string>();
  const take = (fits: (drama: string) => boolean): string => {
    const drama = order.find((one) => !taken.has(one) && fits(one))!;
    taken.add(drama);
    return drama;
  };
  victims = { cot_filter: take((drama) => judged.has(drama)), cot: take(isSampled), caption: take(isSampled), comment_filter: take(() => true) };
});
afterAll(() => bench.teacher.stop());

/** The one call of a task that is struck. */
const struck = (task: Task): NonNullable<Rule["match"]> => ({ task, drama: victims[task], ...(task === "cot" || task === "cot_filter" ? { round: 1 } : {}) });

/** Lines of an export about dramas other than these, by file; files about the whole of it are left out. */
const linesWithout = ({ files }: Trial, without: ReadonlySet<string>): (readonly [string, string[]])[] =>
  [...files].flatMap(([name, lines]) => (name.endsWith(".jsonl") ? [[name, lines.filter((line) => line === "" || !without.has((/"dramaId":"(\d+)"/u.exec(line) ?? [])[1]!))] as const] : []));

const problemsOf = ({ outcomes }: Trial, drama: string): string[] => outcomes.get(drama)!.problems.map(({ kind, round, code }) => `${kind} ${round} ${code}`);

/** Says that one struck drama came to what its ending says. */
function expectEnding(trial: Trial, task: Task, ending: Ending): void {
  const drama = victims[task];
  const [now, before] = [trial.outcomes.get(drama)!, calm.outcomes.get(drama)!];
  const sample = JSON.parse(trial.files.get("samples.jsonl")!.find((line) => line.includes(`"dramaId":"${drama}"`))!) as { decision: string; caption: string | null; unresolved: number; flags: string[]; rounds: { verdict: string; code: string | null }[] };
  const row = trial.rows.find((one) => one.drama === drama && one.kind === KIND_OF[task] && one.round <= 1)!;
  const [state, code] = ending.split(" ") as [string, string];
  if (state === "blocked" || state === "failed") {
    expect(row).toMatchObject({ state, code });
    expect(problemsOf(trial, drama)).toEqual([`${KIND_OF[task]} ${row.round} ${code}`]);
    // The export names it, and holds nothing in its place.
    if (task === "caption") expect(sample).toMatchObject({ decision: state === "blocked" ? "blocked" : "no-caption", caption: null, rounds: [] });
    else if (task === "comment_filter") expect(sample).toMatchObject({ unresolved: now.record.drama.comments.length, comments: [], flags: ["no-comments", "unresolved-comments"] });
    else expect(sample.rounds[0]).toMatchObject({ verdict: task === "cot_filter" ? "no-verdict" : state === "blocked" ? "blocked" : "unusable", code });
    return;
  }
  expect([row.state, problemsOf(trial, drama)]).toEqual(["done", []]);
  if (state === "open") {
    const open = code === "all" ? now.record.drama.comments.length : 1;
    expect([sample.unresolved, now.comments.every((text) => before.comments.includes(text)), now.comments.length >= before.comments.length - open]).toEqual([open, true, true]);
  } else if (ending === "other model") expect(row.model).toBe("teacher-sim-1-fallback");
}

describe("a call that is struck in each stage", () => {
  it("has a row for every fault of the simulator", async () => {
    const source = await readFile(new URL("../../../../test-fixtures/teacher-simulator/teacher-simulator.mjs", import.meta.url), "utf8");
    const known = [.../FAULTS = new Set\(\[(.*?)\]\)/su.exec(source)![1]!.matchAll(/'(\w+)'/gu)].map(([, name]) => name!);
    expect(known).toHaveLength(46);
    expect([...new Set(MATRIX.map(([fault]) => fault))].sort()).toEqual(known.sort());
  });

  it.each(MATRIX)("%s %j", async (fault, more, endings) => {
    const isPassing = endings === "passes";
    const rules = TASKS.map((task): Rule => ({ fault, match: struck(task), ...(isPassing ? { times: 1 } : {}), ...more }));
    const trial = await bench.trial({ dramas: DRAMAS, rules });
    expect(trial.summary.isComplete).toBe(true);
    const hits = trial.calls.filter((call) => call.fault === fault);
    expect(new Set(hits.map(({ task }) => task))).toEqual(new Set(TASKS));
    expect(hits.every(({ task, drama }) => victims[task as Task] === drama)).toBe(true);
    for (const task of TASKS) expectEnding(trial, task, endingOf(endings, task));

    const changed = new Set(TASKS.filter((task) => !["passes", "read"].includes(endingOf(endings, task))).map((task) => victims[task]));
    expect(linesWithout(trial, changed)).toEqual(linesWithout(calm, changed));
    if (changed.size === 0) expect(trial.files).toEqual(calm.files);
    if (endings === "other model") {
      const plain = ({ files }: Trial): string => JSON.stringify([...files].filter(([name]) => name.endsWith(".jsonl"))).replaceAll(/\\"modelReturned\\":\[[^\]]*\]/gu, "");
      expect(plain(trial)).toBe(plain(calm));
    }
    const named = TASKS.flatMap((task) => {
      const [state, code] = endingOf(endings, task).split(" ") as [string, string];
      return state === "failed" || state === "blocked" ? [`${state} ${KIND_OF[task]} ${code}`] : [];
    });
    const reported = [...trial.report.unusable.map((one) => ({ ...one, state: "failed" })), ...trial.report.blocked.map((one) => ({ ...one, state: "blocked" }))];
    expect(reported.flatMap(({ state, kind, code, n }) => Array.from({ length: n }, () => `${state} ${kind} ${code}`)).sort()).toEqual(named.sort());
    if (!isPassing) expect(await invented(bench, trial)).toEqual([]);
  });
});
