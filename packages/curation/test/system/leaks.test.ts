import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { curationReport, curationReportText, exportDisagreements, exportSets, openSqliteLedger, parseCurationConfig, runCuration, type LabelledDrama } from "@dramascope/curation";
import { startSimulator, type Simulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CANARY_KEY, CANARY_PHONE, COMMENTS, dramas, settings } from "../simulator.ts";
import { blockOf, textOf } from "./answers-given.ts";
import type { Rule, SentRequest } from "./trial.ts";

/** The canaries as they are, and in other clothes. */
const SECRETS = [CANARY_KEY, CANARY_PHONE, Buffer.from(CANARY_KEY).toString("base64").replace(/=+$/u, ""), "138 0013 8000", "１３８００１３８０００"];
const ECHO = `the key ${CANARY_KEY} may not send ${CANARY_PHONE}`;

const SCORES = Object.fromEntries(["dailyAvgWatchTime", "dailyAvgUv", "favorites", "likes", "sixMonthWatchTime", "sixMonthUv", "comments", "search", "completionRate"].map((name) => [name, 50]));

/** Dramas that hold the canaries wherever people write. */
const canaryDramas = (count: number): LabelledDrama[] =>
  dramas(count).map((one, i) => ({
    ...one,
    drama: {
      ...one.drama,
      title: `${CANARY_PHONE} ${one.drama.title}`,
      genre: `revenge ${CANARY_PHONE}`,
      transcript: `00:07 He reads out ${CANARY_PHONE}, then １３８００１３８０００ and ${CANARY_KEY}.`,
      comments: [...one.drama.comments!, { text: `my number: 138 0013 8000 ${i}`, likes: 30, userId: CANARY_PHONE }, { text: `打${CANARY_PHONE}给我`, likes: 29 }, { text: `key ${CANARY_KEY} ${CANARY_PHONE} ${i}`, likes: 2, userId: CANARY_KEY }],
    },
  }));

let teacher: Simulator;
beforeAll(async () => {
  teacher = await startSimulator({ args: ["--api-key", CANARY_KEY] });
});
afterAll(() => teacher.stop());

const setFaults = (rules: readonly Rule[]): Promise<Response> => fetch(new URL("/__sim/faults", teacher.baseURL), { method: "POST", body: JSON.stringify({ rules }) });

/** Names of files below a folder, or of texts, that hold a secret, in any of the usual encodings. */
function holders(texts: ReadonlyMap<string, Buffer>): string[] {
  return [...texts].flatMap(([name, bytes]) => SECRETS.filter((secret) => bytes.includes(secret) || bytes.includes(Buffer.from(secret, "utf16le"))).map((secret) => `${name}: ${secret}`));
}

async function filesBelow(folder: string): Promise<Map<string, Buffer>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return new Map(await Promise.all(entries.filter((entry) => entry.isFile()).map(async (entry) => [entry.name, await readFile(join(entry.parentPath, entry.name))] as const)));
}

/** An error with its hint, stack and chain of causes. */
function errorText(error: unknown): string {
  const parts: string[] = [];
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) parts.push(String(at.stack), JSON.stringify(Object.entries(at)));
  return parts.join("\n");
}

describe("what people wrote and the provider's key", () => {
  it("are in no file, event or report of a run, nor in its prompts", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-leaks-"));
    const outside = await mkdtemp(join(tmpdir(), "dramascope-leaks-input-"));
    const given = canaryDramas(10);
    // Lines that cannot be taken are named, not repeated.
    const bare = { releasedOn: "2026-01-01", episodes: [{ index: 1 }] };
    const bad = [
      `{"dramaId": x${CANARY_PHONE}}`,
      CANARY_KEY,
      `${CANARY_PHONE} ${CANARY_KEY}`,
      `{"dramaId":"b0","title":"${"long ".repeat(30)}","comments":[${CANARY_KEY},"${"long ".repeat(30)}"]}`,
      JSON.stringify({ ...bare, dramaId: CANARY_PHONE }),
      JSON.stringify({ ...bare, dramaId: "b3", episodes: [{ index: 1, path: `${CANARY_PHONE}/${CANARY_KEY}.mp4` }] }),
      `{"dramaId": "${CANARY_PHONE}`,
      JSON.stringify({ dramaId: "b1", title: CANARY_PHONE, episodes: CANARY_KEY }),
      JSON.stringify({ ...given[0]!.drama, comments: [{ text: CANARY_PHONE, likes: CANARY_KEY }] }),
    ];
    const input = { dramas: join(outside, "dramas.jsonl"), labels: join(outside, "labels.jsonl") };
    await writeFile(input.dramas, [...given.map(({ drama }) => JSON.stringify(drama)), ...bad].join("\n"));
    await writeFile(input.labels, given.map(({ drama: { dramaId }, quality }) => JSON.stringify({ dramaId, hotValue: 1, quality, peakDate: "2026-01-01", scores: SCORES, modelHash: "m1" })).join("\n"));
    const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder, input, split: { seed: "s", evalPerClass: 0, sftSize: 8 } });
    await setFaults([
      { fault: "http", status: 400, code: `echo ${CANARY_KEY}`, message: ECHO, match: { task: "cot", round: 1 } },
      { fault: "content_blocked", message: ECHO, match: { task: "comment_filter", drama: "7300000000000000008" } },
      { fault: "http", status: 500, message: ECHO, probability: 0.2 },
    ]);
    const heard: string[] = [];
    const ledger = openSqliteLedger(join(folder, "ledger.db"));
    const summary = await runCuration({ config, ledger, apiKey: CANARY_KEY, commentSalt: "salt", journal: join(folder, "journal.jsonl"), onEvent: (event) => heard.push(JSON.stringify(event)), onProgress: (progress) => heard.push(JSON.stringify(progress)) });
    expect(summary).toMatchObject({ isComplete: true, imported: { dramas: 10, rejected: 9 } });
    expect(summary.counts.sample.failed).toBeGreaterThan(0);
    expect(summary.counts.comments.blocked).toBe(1);
    await exportSets(ledger, config, join(folder, "export"));
    await exportDisagreements(ledger, config, join(folder, "disagree.jsonl"));
    const report = await curationReport(ledger, config, { comments: "include", examples: 10 });
    heard.push(JSON.stringify(summary), JSON.stringify(report), curationReportText(report));
    // The ledger is still open: its write-ahead log is looked through, too.
    const files = await filesBelow(folder);
    expect([...files.keys()]).toEqual(expect.arrayContaining(["ledger.db", "ledger.db-wal", "journal.jsonl", "rejected.jsonl", "samples.jsonl", "manifest.json"]));
    expect(holders(new Map([...files, ["events and reports", Buffer.from(heard.join("\n"))]]))).toEqual([]);
    await ledger.close();
    expect(holders(await filesBelow(folder))).toEqual([]);
    expect(holders(new Map([["requests", await readFile(teacher.bodies)]]))).toEqual([]);
  });

  it("are in no error, whatever the provider repeats in its own", async () => {
    for (const rule of [{ fault: "http", status: 401, code: `bad ${CANARY_KEY}` }, { fault: "http", status: 403, code: "AccountOverdueError" }, { fault: "http", status: 400, code: "weird" }]) {
      await setFaults([{ ...rule, message: ECHO }]);
      const folder = await mkdtemp(join(tmpdir(), "dramascope-leaks-"));
      const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder, split: { seed: "s", evalPerClass: 0, sftSize: 8 } });
      const error: unknown = await runCuration({ config, dramas: canaryDramas(3), apiKey: CANARY_KEY, journal: join(folder, "journal.jsonl") }).then(() => undefined, (reason: unknown) => reason);
      expect(error).toMatchObject({ code: "TEACHER_UNAVAILABLE" });
      expect(holders(new Map([...(await filesBelow(folder)), ["error", Buffer.from(errorText(error))]]))).toEqual([]);
    }
  });

  it("go to the teacher only where they belong: no class and no comment to the sampler, comments in their block", async () => {
    await setFaults([]);
    const folder = await mkdtemp(join(tmpdir(), "dramascope-leaks-"));
    const from = (await readFile(teacher.bodies)).length;
    // Without transcripts, every drama is asked about in the same words.
    const config = parseCurationConfig({ ...settings(teacher.baseURL), workdir: folder, split: { seed: "s", evalPerClass: 0, sftSize: 20 } });
    const summary = await runCuration({ config, dramas: dramas(20), apiKey: CANARY_KEY });
    const requests = (await readFile(teacher.bodies)).subarray(from).toString("utf8").trim().split("\n").map((line) => JSON.parse(line) as SentRequest);
    expect(requests).toHaveLength(summary.calls);
    const of = (task: string): SentRequest[] => requests.filter(({ body }) => body.metadata.task === task);
    expect(new Set(of("cot").map(textOf)).size).toBe(1);
    expect(new Set(of("caption").map(textOf)).size).toBe(1);
    expect([...new Set(of("cot").flatMap(({ body }) => Object.keys(body)))].sort()).toEqual(["max_tokens", "messages", "metadata", "model", "seed", "temperature", "top_p"]);
    expect([...new Set(of("cot").flatMap(({ body }) => Object.keys(body.metadata)))].sort()).toEqual(["attempt", "drama_id", "round", "task"]);
    const texts = COMMENTS.filter((text) => text.length > 5).map((text) => text.replace(CANARY_PHONE, "[phone]"));
    for (const request of requests) {
      const text = textOf(request);
      const outside = text.replaceAll(/^(data-[0-9a-f]{16})\n.*\n\1$/gmu, "");
      expect([request.body.metadata.task, texts.filter((comment) => outside.includes(comment) || outside.includes(JSON.stringify(comment).slice(1, -1)))]).toEqual([request.body.metadata.task, []]);
    }
    const known = new Set(dramas(20).flatMap(({ drama }) => drama.comments!.map(({ text }) => text.replace(CANARY_PHONE, "[phone]"))));
    for (const request of of("comment_filter")) {
      const shown = (blockOf(request) as { text: string }[]).map(({ text }) => text);
      expect([shown.length > 0, shown.filter((text) => !known.has(text))]).toEqual([true, []]);
    }
    expect(requests.every(({ headers }) => !JSON.stringify(headers).includes(CANARY_KEY))).toBe(true);
  });
});
