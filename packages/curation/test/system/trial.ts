import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  curationReport, exportSets, loadSetting, openSqliteLedger, parseCurationConfig, replayDrama, runCuration,
  type CurationConfigInput, type CurationOptions, type CurationReport, type DramaOutcome, type LabelledDrama, type RunSummary, type StepRow,
} from "@dramascope/curation";
import { startSimulator, type Simulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { settings, type JournalCall } from "../simulator.ts";

/** Tasks of a curation, in the order in which a drama needs them. */
export const TASKS = ["caption", "cot", "cot_filter", "comment_filter"] as const;
export type Task = (typeof TASKS)[number];

/** A rule of the simulator. */
export interface Rule {
  fault: string;
  match?: { task?: Task | readonly Task[]; drama?: string | readonly string[]; round?: number };
  [name: string]: unknown;
}

/** A request as the simulator got it. */
export interface SentRequest {
  headers: Record<string, string>;
  body: { messages: { content: string | { text?: string }[] }[]; metadata: { task: Task; drama_id: string; round?: number; attempt?: number }; max_tokens?: number };
}

/** What came of a run. */
export interface Trial {
  folder: string;
  summary: RunSummary;
  report: CurationReport;
  /** Lines of each exported file. */
  files: Map<string, string[]>;
  outcomes: Map<string, DramaOutcome>;
  rows: StepRow[];
  /** The simulator's calls of this run alone. */
  calls: JournalCall[];
  /** Requests of this run alone. */
  requests: SentRequest[];
}

/** What a trial is about. */
export interface TrialOptions {
  dramas: readonly LabelledDrama[];
  rules?: readonly Rule[];
  /** Default a new folder; one of an earlier trial is gone on with. */
  folder?: string;
  more?: Partial<CurationConfigInput>;
  run?: Partial<CurationOptions>;
}

/** Lines that were added to a file since its size was taken. */
function linesSince(path: string, from: number): string[] {
  const file = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(fstatSync(file).size - from);
    readSync(file, bytes, 0, bytes.length, from);
    return bytes.toString("utf8").split("\n").filter((line) => line !== "");
  } finally {
    closeSync(file);
  }
}

function sizeOf(path: string): number {
  const file = openSync(path, "r");
  const { size } = fstatSync(file);
  closeSync(file);
  return size;
}

/** A simulator that runs are tried against, one after the other. */
export interface Bench {
  teacher: Simulator;
  /** Replaces the faults; the simulator forgets what it was asked. */
  faults(rules: readonly Rule[]): Promise<void>;
  trial(options: TrialOptions): Promise<Trial>;
  /** What the simulator says to a request, with the faults that are set. */
  answerTo(request: SentRequest): Promise<string | null>;
}

/** Starts a simulator that knows the dramas' classes. */
export async function startBench(known: readonly LabelledDrama[], args: readonly string[] = []): Promise<Bench> {
  const truth = join(await mkdtemp(join(tmpdir(), "dramascope-truth-")), "truth.json");
  await writeFile(truth, JSON.stringify(Object.fromEntries(known.map(({ drama, quality }) => [drama.dramaId, quality]))));
  const teacher = await startSimulator({ args: ["--truth", truth, "--accuracy", "0.7", ...args] });
  const post = async (route: string, body: unknown): Promise<void> => {
    const { ok, status } = await fetch(new URL(`/__sim/${route}`, teacher.baseURL), { method: "POST", body: JSON.stringify(body) });
    if (!ok) throw new Error(`the simulator answers ${route} with ${status}`);
  };
  const faults = async (rules: readonly Rule[]): Promise<void> => {
    await post("reset", {});
    await post("faults", { rules: rules.map((rule, i) => ({ id: `${i} ${rule.fault}`, ...rule })) });
  };

  const trial = async ({ dramas, rules = [], folder: given, more = {}, run = {} }: TrialOptions): Promise<Trial> => {
    const folder = given ?? (await mkdtemp(join(tmpdir(), "dramascope-trial-")));
    await faults(rules);
    const before = { journal: sizeOf(teacher.journal), bodies: sizeOf(teacher.bodies) };
    const base = settings(teacher.baseURL);
    const config = parseCurationConfig({ ...base, teacher: { ...base.teacher, timeouts: { callMs: 500 } }, workdir: folder, split: { seed: "s", evalPerClass: 0, sftSize: 9 }, rounds: { max: 3, perClassMax: {} }, ...more });
    const ledger = openSqliteLedger(join(folder, "ledger.db"));
    try {
      const summary = await runCuration({ config, dramas, ledger, journal: join(folder, "journal.jsonl"), ...run });
      const dir = join(folder, "export");
      await exportSets(ledger, config, dir);
      const names = (await readdir(dir)).sort();
      const files = await Promise.all(names.map(async (name) => [name, (await readFile(join(dir, name), "utf8")).split("\n")] as const));
      const setting = await loadSetting(config);
      const outcomes = new Map<string, DramaOutcome>();
      const rows: StepRow[] = [];
      for await (const { drama, answers } of ledger.answersByDrama(summary.generation)) {
        rows.push(...answers);
        outcomes.set(drama.dramaId, replayDrama(setting, drama, answers).outcome);
      }
      const calls = linesSince(teacher.journal, before.journal).flatMap((line) => (line.includes('"ev":"call"') ? [JSON.parse(line) as JournalCall] : []));
      const requests = linesSince(teacher.bodies, before.bodies).map((line) => JSON.parse(line) as SentRequest);
      return { folder, summary, report: await curationReport(ledger, config), files: new Map(files), outcomes, rows, calls, requests };
    } finally {
      await ledger.close();
    }
  };

  const answerTo = async ({ body }: SentRequest): Promise<string | null> => {
    const response = await fetch(`${teacher.baseURL}/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    const { choices } = (await response.json()) as { choices?: { message: { content: string | null } }[] };
    return choices?.[0]?.message.content ?? null;
  };
  return { teacher, faults, trial, answerTo };
}
