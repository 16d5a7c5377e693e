import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { createRewardPool, hardened, prepareReference, scoreCompletion, type RewardItem, type RewardPool, type RewardReference } from "@dramascope/rewards";
import { createRandom } from "@dramascope/schema";
import ts from "typescript";
import { afterEach, describe, expect, it, vi } from "vitest";

const random = createRandom(3);
const words = (count: number): string => Array.from({ length: count }, () => `w${random.below(60)}`).join(" ");
const references: RewardReference[] = Array.from({ length: 9 }, () => ({ score: (1 + random.below(5)) as 1, caption: words(40), comments: Array.from({ length: 6 }, () => words(8)) }));
const completion = (): string => `<caption>${words(40)}</caption><comments>${JSON.stringify(Array.from({ length: 5 }, () => words(8)))}</comments><think>t</think><answer>${1 + random.below(5)}</answer>`;
const items: RewardItem[] = Array.from({ length: 300 }, () => ({ completion: completion(), reference: references[random.below(references.length)]! }));
const expected = items.map((item) => ({ ...scoreCompletion(item.completion, prepareReference(item.reference)), error: null }));

const pools: RewardPool[] = [];
const open = (...options: Parameters<typeof createRewardPool>): RewardPool => {
  const pool = createRewardPool(...options);
  pools.push(pool);
  return pool;
};
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

/** Ends the thread that a job is sent to, for the jobs that are named by their number; 0 is the first. */
function killAtJobs(isKilled: (job: number) => boolean): void {
  let sent = 0;
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its worker below
  const post = Worker.prototype.postMessage;
  vi.spyOn(Worker.prototype, "postMessage").mockImplementation(function (this: Worker, message: unknown) {
    post.call(this, message);
    if (isKilled(sent++)) void this.terminate();
  });
}

/** A program beside the package's sources as a build leaves them: each module as JavaScript. */
function runBuilt(program: string): string {
  const folder = mkdtempSync(join(tmpdir(), "dramascope-built-"));
  const sources = new URL("../src/", import.meta.url);
  mkdirSync(join(folder, "dist"));
  for (const name of readdirSync(sources)) {
    const { outputText } = ts.transpileModule(readFileSync(new URL(name, sources), "utf8"), { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023, rewriteRelativeImportExtensions: true, verbatimModuleSyntax: true } });
    writeFileSync(join(folder, "dist", name.replace(/ts$/u, "js")), outputText);
  }
  copyFileSync(new URL("../package.json", import.meta.url), join(folder, "package.json"));
  symlinkSync(fileURLToPath(new URL("../../../node_modules", import.meta.url)), join(folder, "node_modules"));
  writeFileSync(join(folder, "program.mjs"), program);
  return execFileSync(process.execPath, ["--conditions=@dramascope/source", join(folder, "program.mjs")], { encoding: "utf8", timeout: 30_000 });
}

describe("createRewardPool", () => {
  it.each([1, 2, 3])("gives the numbers of single calls in the order of the items on %i threads", async (workers) => {
    expect(await open({ workers }).score(items)).toEqual(expected);
  });

  it("scores batches that overlap, and equal references that are different objects", async () => {
    const pool = open({ workers: 2 });
    const batches = [items.slice(0, 70), items.slice(70, 71), [], items.slice(71).map((item) => structuredClone(item))];
    expect((await Promise.all(batches.map((batch) => pool.score(batch)))).flat()).toEqual(expected);
    expect(pool.ready).toBeGreaterThan(0);
  });

  it("keeps broken references to their own items", async () => {
    const broken = [{ ...references[0]!, score: 9 }, { ...references[0]!, score: "3" }, { ...references[0]!, caption: " \ufeff" }, { ...references[0]!, comments: ["a", 1] }, {}] as RewardReference[];
    const mixed = items.slice(0, 20).map((item, i) => (i % 4 === 0 ? { ...item, reference: broken[i / 4]! } : item));
    const scores = await open({ workers: 2 }).score(mixed);
    const nulls = { format: null, accuracy: null, caption: null, comments: null, total: null };
    expect(scores.map(({ error }) => error?.code ?? null).filter((_, i) => i % 4 === 0)).toEqual(["REFERENCE_SCORE_INVALID", "REFERENCE_SCORE_INVALID", "REFERENCE_CAPTION_EMPTY", "REFERENCE_COMMENTS_INVALID", "REFERENCE_SCORE_INVALID"]);
    scores.forEach((score, i) => expect(score).toMatchObject(i % 4 === 0 ? nulls : expected[i]!));
    expect(scores[0]!.reasons).toEqual(["reference-score-invalid"]);
  });

  it("scores by its options, names them in its version, and adds details when asked", async () => {
    const pool = open({ workers: 1, reward: hardened() });
    const prepared = prepareReference(items[0]!.reference, hardened());
    expect(pool.version).toBe(prepared.version);
    const [plain] = await pool.score([items[0]!]);
    const [detailed] = await pool.score([items[0]!], { details: true });
    expect(plain).toEqual({ ...scoreCompletion(items[0]!.completion, prepared), error: null });
    expect(detailed!.details).toMatchObject({ comments: { given: 5, kept: 5, distinct: 5, pairs: 5 }, captionTokens: 40, warnings: [] });
    expect({ ...detailed, details: undefined }).toEqual({ ...plain, details: undefined });
  });

  it("scores again what a killed thread had, and mixes nothing up", async () => {
    const pool = open({ workers: 2 });
    await pool.whenReady();
    killAtJobs((job) => job % 5 === 3);
    const scores = await pool.score(items);
    const lost = scores.filter(({ error }) => error !== null);
    scores.forEach((score, i) => expect(score).toEqual(score.error === null ? expected[i] : { ...score, total: null, format: null, accuracy: null, caption: null, comments: null, reasons: ["worker-lost"] }));
    expect(lost.length).toBeLessThan(items.length / 2);
    vi.restoreAllMocks();
    expect(await pool.score(items)).toEqual(expected);
  });

  it("gives nulls with the error to items whose threads all die, never 0", async () => {
    const pool = open({ workers: 1 });
    await pool.whenReady();
    killAtJobs(() => true);
    const scores = await pool.score(items.slice(0, 6));
    for (const score of scores) expect(score).toMatchObject({ total: null, accuracy: null, format: null, caption: null, comments: null, reasons: ["worker-lost"], error: { code: "WORKER_LOST" } });
  });

  it("gives up when no thread can be started, and tries again with the next batch", async () => {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its worker below
    const on = Worker.prototype.on as (this: Worker, ...args: unknown[]) => Worker;
    const started = new Set<Worker>();
    vi.spyOn(Worker.prototype, "on").mockImplementation(function (this: Worker, ...args: unknown[]) {
      if (args[0] === "exit" && !started.has(this)) {
        started.add(this);
        void this.terminate();
      }
      return on.apply(this, args);
    });
    const pool = open({ workers: 2 });
    await expect(pool.score(items)).rejects.toMatchObject({ code: "WORKER_UNAVAILABLE" });
    expect(started.size).toBeLessThan(6);
    expect(pool.ready).toBe(0);
    vi.restoreAllMocks();
    expect(await pool.score(items)).toEqual(expected);
  });

  it("stops when asked and goes on with the rest", async () => {
    const pool = open({ workers: 1 });
    const abort = new AbortController();
    const stopped = pool.score(items, { signal: abort.signal });
    const other = pool.score(items.slice(0, 10));
    abort.abort(new Error("enough"));
    await expect(stopped).rejects.toThrow("enough");
    expect(await other).toEqual(expected.slice(0, 10));
    await expect(pool.score(items, { signal: abort.signal })).rejects.toThrow("enough");
  });

  it("finishes what it was given before it closes, and takes nothing after", async () => {
    const pool = createRewardPool({ workers: 2 });
    const scores = pool.score(items);
    await pool.close();
    expect(await scores).toEqual(expected);
    expect(pool.ready).toBe(0);
    await expect(pool.score(items)).rejects.toMatchObject({ code: "POOL_CLOSED" });
    await expect(pool.whenReady()).rejects.toMatchObject({ code: "POOL_CLOSED" });
    await pool.close();
  });

  it("finds its threads' module in the built package, too", () => {
    const output = runBuilt(`
      import { createRewardPool } from "./dist/index.js";
      const pool = createRewardPool({ workers: 2 });
      const [{ accuracy, error }] = await pool.score([{ completion: "<answer>4</answer>", reference: { score: 4, caption: "a", comments: [] } }]);
      await pool.close();
      console.log(accuracy, error);`);
    expect(output.trim()).toBe("1 null");
  });

  it("refuses settings that make no sense", () => {
    expect(() => createRewardPool({ workers: 0 })).toThrow(expect.objectContaining({ code: "OPTIONS_INVALID" }) as Error);
    expect(() => createRewardPool({ reward: { tokenizer: "words" as "mixed" } })).toThrow(expect.objectContaining({ code: "OPTIONS_INVALID" }) as Error);
  });
});
