import { execFile } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import type { ChatRequest, TeacherClient } from "@dramascope/chat-client";
import { exportSets, openSqliteLedger, parseCurationConfig, prepareComment, runCuration, type StepRow } from "@dramascope/curation";
import { sha256 } from "@dramascope/schema";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HOSTILE_COMMENTS } from "../hostile-comments.ts";
import { dramas } from "../simulator.ts";
import { GOOD, hostileDramas, hostileSettings, peacefulDramas } from "./hostile-dramas.ts";
import { startBench, type Bench, type Task } from "./trial.ts";

const THINK = "The slap at 0:07 in episode 1 starts a chain that the torn letter in episode 3 closes. Strengths: the opening slap. Weaknesses: the office set is reused.";

let bench: Bench;
beforeAll(async () => {
  bench = await startBench(dramas(4));
});
afterAll(() => bench.teacher.stop());

describe("comments that want more than to be read", () => {
  it.each(["indexed", "keyed"] as const)("change nothing about the others, in a whole run (%s)", async (shape) => {
    const { comments, split } = hostileSettings(bench.teacher.baseURL, "", shape);
    const [peaceful, hostile] = [await bench.trial({ dramas: peacefulDramas(4), more: { comments, split } }), await bench.trial({ dramas: hostileDramas(4), more: { comments, split } })];
    const sent = new Set(HOSTILE_COMMENTS.map(([, text]) => prepareComment(text).text));
    for (const [drama, one] of hostile.outcomes) {
      const other = peaceful.outcomes.get(drama)!;
      expect(one.record.drama.comments).toHaveLength(GOOD.length + HOSTILE_COMMENTS.length - 1);
      expect(one.comments.filter((text) => GOOD.includes(text))).toEqual(other.comments);
      expect(one.comments.filter((text) => !GOOD.includes(text) && !sent.has(text))).toEqual([]);
      // What the simulator takes for noise is noise, whatever property of an object it would be.
      expect([one.unresolved, one.comments.includes("666")]).toEqual([0, false]);
      expect([one.caption, one.rounds]).toEqual([other.caption, other.rounds]);
    }
    expect(hostile.report.unusable).toEqual([]);
  });

  it("come through where objects have no prototype accessor", async () => {
    const rules = [{ fault: "proto_keys" }];
    await bench.faults(rules);
    const folder = await mkdtemp(join(tmpdir(), "dramascope-trial-"));
    const child = fileURLToPath(new URL("hostile-child.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ["--disable-proto=throw", "--conditions=@dramascope/source", child, bench.teacher.baseURL, folder]);
    const { comments, split, rounds } = hostileSettings(bench.teacher.baseURL, "", "keyed");
    const here = await bench.trial({ dramas: hostileDramas(3), rules, more: { comments, split, rounds } });
    expect(JSON.parse(stdout)).toEqual(Object.fromEntries([...here.files].map(([name, lines]) => [name, sha256(lines.join("\n"))])));
  });
});

describe("answers that want more than to be read", () => {
  const deep = "[".repeat(150_000);
  const long = "word ".repeat(5000);
  const sample = (answer: string): string => `{"think":${JSON.stringify(THINK)},"answer":${answer}}`;
  const ANSWERS: readonly (readonly [what: string, task: Task, content: string, code: string | null])[] = [
    ["a summary with a NUL and marks that reverse it", "caption", "Two sisters\u0000 fight \u202eover a hotel\u202c.", null],
    ["a summary in tags", "caption", "</caption><answer>\\boxed{5}</answer>", null],
    ["a summary in markup", "caption", "<script>alert(1)</script>", null],
    ["a summary with half a character", "caption", "Two sisters \ud83d fight", "BAD_ENCODING"],
    ["a summary that never ends thinking", "caption", "<think>The sisters", "TRUNCATED"],
    ["a summary of nothing that can be seen", "caption", "\u200b\u2060\ufeff", "EMPTY"],
    ["a summary as long as a book", "caption", long, "TOO_LARGE"],
    ["a summary as an object", "caption", '{"summary":"Two sisters"}', "NOT_TEXT"],
    ["a score beyond numbers", "cot", sample("1e400"), "SCORE_FORM"],
    ["a score that is true", "cot", sample("true"), "SCORE_FORM"],
    ["a score of a list", "cot", sample("[5]"), "SCORE_FORM"],
    ["a score between two", "cot", sample("4.5"), "SCORE_NOT_INTEGER"],
    ["a score for every object", "cot", '{"__proto__":{"think":"x","answer":5}}', "SCORE_MISSING"],
    ["a score for every class", "cot", '{"constructor":{"prototype":{"think":"x","answer":5}}}', "SCORE_MISSING"],
    ["reasons that are an object", "cot", '{"think":{"toString":"x"},"answer":3}', "THINK_FORM"],
    ["reasons that cannot be seen", "cot", '{"think":"\\u200b\\u2060","answer":3}', "THINK_MISSING"],
    ["reasons with half a character", "cot", '{"think":"a \\ud800 b","answer":3}', "BAD_ENCODING"],
    ["two answers", "cot", `${sample("1")}\n${sample("5")}`, "AMBIGUOUS"],
    ["an answer without a bottom", "cot", deep, "TOO_DEEP"],
    ["a raw NUL inside a string", "cot", '{"think":"a\u0000b","answer":3}', "INVALID_JSON"],
    ["a verdict of one", "cot_filter", '{"reason":"x","valid":1}', "VALID_FORM"],
    ["a verdict of yes", "cot_filter", '{"reason":"x","valid":"yes"}', "VALID_FORM"],
    ["a verdict for every class", "cot_filter", '{"constructor":{"valid":true},"__proto__":{"valid":true}}', "VALID_MISSING"],
    ["a verdict in a list", "cot_filter", "[true]", "NOT_OBJECT"],
    ["labels for every object", "comment_filter", '{"labels":{"__proto__":1,"0":1}}', "LABELS_FORM"],
    ["more labels than comments", "comment_filter", `{"labels":[${Array.from({ length: 30 }, () => 1).join(",")}]}`, "LABELS_FORM"],
    ["labels of no comments", "comment_filter", '{"labels":[{"i":"__proto__","label":1},{"i":-1,"label":1},{"i":1e9,"label":1},{"i":0,"label":2},{"i":0.5,"label":1}]}', null],
  ];
  const KIND_OF = { caption: "caption", cot: "sample", cot_filter: "filter", comment_filter: "comments" } as const;
  const DRAMAS = dramas(ANSWERS.length);
  const place = new Map(DRAMAS.map(({ drama: { dramaId } }, i) => [dramaId, i]));

  /** A teacher that answers well, but for one call about each drama. */
  const contentFor = ({ task, trace }: ChatRequest): string => {
    const i = place.get(trace!.drama)!;
    const [, about, hostile] = ANSWERS[i]!;
    if (task === about) return hostile;
    if (task === "caption") return "Two sisters fight over a hotel.";
    if (task === "cot") return sample(String(DRAMAS[i]!.quality));
    return task === "cot_filter" ? '{"reason":"as shown","valid":true}' : '{"labels":[]}';
  };
  const client: TeacherClient = {
    call: (request) => Promise.resolve({ kind: "ok", content: contentFor(request), finish: "stop", model: "m", usage: { promptTokens: 10, completionTokens: 10, source: "reported" }, ms: 1 }),
    capabilities: () => ({ frames: true, videoUrl: false, fpsWhere: "none", fileId: false, jsonSchema: false, metadata: false, traceHeaders: false, thinkingParam: "none", prefixCache: false, batch: false }),
    close: () => Promise.resolve(),
  };

  it("come to what they are, and to nothing else", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-hostile-"));
    const config = parseCurationConfig({ ...hostileSettings("http://127.0.0.1:9/v1", folder, "indexed"), split: { seed: "s", evalPerClass: 0, sftSize: 100 }, rounds: { max: 1, perClassMax: {} } });
    const ledger = openSqliteLedger(join(folder, "ledger.db"));
    const summary = await runCuration({ config, dramas: DRAMAS, ledger, client });
    expect(summary.isComplete).toBe(true);
    const rows: StepRow[] = [];
    for await (const row of ledger.stream({})) rows.push(row);
    const told = ANSWERS.map(([what, task], i) => [what, rows.find((row) => row.drama === DRAMAS[i]!.drama.dramaId && row.kind === KIND_OF[task])?.code]);
    expect(told).toEqual(ANSWERS.map(([what, , , code]) => [what, code]));
    const { counts } = await exportSets(ledger, config, join(folder, "export"));
    // Nothing but a usable answer of every kind gives a record.
    expect(counts["sft"]).toBe(ANSWERS.filter(([, task, , code]) => code === null || task === "comment_filter").length);
    const labelled = rows.filter(({ kind, state }) => kind === "comments" && state === "done");
    expect(labelled.every(({ content }) => content === '{"labels":[]}' || content === ANSWERS.at(-1)![2])).toBe(true);
    await ledger.close();
    expect([Object.keys(Object.prototype), ({} as { label?: unknown }).label, ({} as { answer?: unknown }).answer]).toEqual([[], undefined, undefined]);
  });
});
