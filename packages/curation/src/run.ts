import { createTeacherClient, type TeacherClient } from "@dramascope/chat-client";
import type { Drama, OnProgress, Quality } from "@dramascope/schema";
import type { CurationConfig } from "./config.ts";
import { curateDrama, loadTemplates, type CurationSetting, type DramaOutcome, type LoadPictures, type PlacedDrama, type Step, type StepAnswer } from "./curate-drama.ts";
import { CurationError } from "./errors.ts";
import { funnelOf, type Funnel } from "./funnel.ts";
import type { StepLedger } from "./ledger.ts";
import { splitDramas, type SplitManifest } from "./split-dramas.ts";

/** A drama with its known class. */
export interface LabelledDrama {
  drama: Drama;
  quality: Quality;
}

/** What a curation works on. */
export interface CurationInput {
  config: CurationConfig;
  dramas: readonly LabelledDrama[];
  ledger: StepLedger;
  /** Places of dramas that stay as they are. */
  previousSplit?: Pick<SplitManifest, "assignment">;
  /** JPEGs of an episode's frames for the teacher; without it the teacher sees text alone. */
  loadPictures?: LoadPictures;
}

/** Options of {@link runCuration}. */
export interface RunOptions extends CurationInput {
  /** Default a client of the settings' provider. */
  client?: TeacherClient;
  /** Bearer token of the provider. */
  apiKey?: string;
  /** JSONL file of all attempts. */
  journal?: string;
  signal?: AbortSignal;
  onProgress?: OnProgress;
}

/** How a run ended. */
export interface RunSummary {
  /** Every step has an answer or a reason. */
  isComplete: boolean;
  /** Why it stopped early. */
  stopped: "budget" | "signal" | null;
  /** Calls of this run. */
  calls: number;
  /** Money spent by this run. */
  cost: number;
  funnel: Funnel;
}

/** Dramas with their places, evaluation included, in their order. */
export function placeDramas({ config, dramas, previousSplit }: Pick<CurationInput, "config" | "dramas" | "previousSplit">): PlacedDrama[] {
  const rows = dramas.map(({ drama, quality }) => ({
    dramaId: drama.dramaId,
    quality,
    title: drama.title,
    franchiseId: drama.franchiseId,
    episodeHashes: drama.episodes.flatMap(({ sha256 }) => (sha256 === undefined ? [] : [sha256])),
  }));
  const { assignment } = splitDramas(rows, config.split, previousSplit);
  return dramas.map(({ drama, quality }) => ({ drama, quality, split: assignment[drama.dramaId]! }));
}

/** Outcomes from what the ledger holds, without any call. */
export async function readOutcomes(input: CurationInput): Promise<DramaOutcome[]> {
  const setting: CurationSetting = { config: input.config, templates: await loadTemplates(input.config) };
  const ask = (step: Step): Promise<StepAnswer> => {
    const row = input.ledger.get(step.key);
    if (row?.state === "done") return Promise.resolve({ ok: true, content: row.content!, key: row.key });
    return Promise.resolve({ ok: false, state: row === undefined || row.state === "started" ? "missing" : row.state, code: row?.code ?? "NOT_RUN" });
  };
  const outcomes: DramaOutcome[] = [];
  for (const placed of placeDramas(input)) outcomes.push(await curateDrama(placed, setting, ask));
  return outcomes;
}

/**
 * Asks the teacher everything that the ledger does not hold yet. The same call again goes on where it stopped: finished answers are
 * never paid twice, and after a kill at most the calls in flight are repeated.
 *
 * @throws CurationError `TEACHER_UNAVAILABLE` when the provider refuses every call, `LEDGER_IO`.
 */
export async function runCuration(options: RunOptions): Promise<RunSummary> {
  const { config, ledger, loadPictures, onProgress } = options;
  const { teacher, budget } = config;
  const client =
    options.client ??
    createTeacherClient({
      baseURL: teacher.baseURL, model: teacher.model, callTimeoutMs: teacher.callTimeoutMs, maxAttempts: teacher.maxAttempts, backoffMs: teacher.backoffMs, prices: teacher.prices, sendsMetadata: teacher.sendsMetadata,
      ...(options.apiKey === undefined ? {} : { apiKey: options.apiKey }),
      ...(options.journal === undefined ? {} : { journal: options.journal }),
      ...(budget.maxCost === undefined ? {} : { maxCost: budget.maxCost - ledger.rows().reduce((sum, row) => sum + row.cost, 0) }),
    });
  const setting: CurationSetting = { config, templates: await loadTemplates(config), ...(loadPictures ? { loadPictures } : {}) };
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  let calls = 0;
  let stopped: RunSummary["stopped"] = null;
  let failure: CurationError | undefined;

  const ask = async (step: Step): Promise<StepAnswer> => {
    const known = ledger.get(step.key);
    if (known?.state === "done") return { ok: true, content: known.content!, key: known.key };
    if (known?.state === "blocked" || known?.state === "unusable") return { ok: false, state: known.state, code: known.code ?? "" };
    if (signal.aborted) return { ok: false, state: "missing", code: "STOPPED" };
    const base = { key: step.key, kind: step.kind, drama: step.drama, round: step.round, content: null, code: null, model: null, cost: 0, attempts: 0 };
    await ledger.put({ ...base, state: "started" });
    calls++;
    const result = await client.call(await step.request());
    if (result.kind === "ok") {
      await ledger.put({ ...base, state: "done", content: result.content, model: result.model, cost: result.cost, attempts: result.attempts });
      return { ok: true, content: result.content, key: step.key };
    }
    if (result.kind === "budget") {
      stopped = "budget";
      stop.abort();
      return { ok: false, state: "missing", code: "BUDGET_REACHED" };
    }
    if (result.kind === "fatal") {
      failure ??= new CurationError(`the teacher refuses calls: ${result.code}: ${result.message}`, { code: "TEACHER_UNAVAILABLE", hint: "Check the address, the key and the model's name; nothing was marked as failed." });
      stop.abort();
      return { ok: false, state: "missing", code: result.code };
    }
    await ledger.put({ ...base, state: result.kind, code: result.code, cost: result.cost, attempts: result.attempts });
    return { ok: false, state: result.kind, code: result.code };
  };

  const placed = placeDramas(options).filter(({ split }) => split !== "eval");
  let next = 0;
  let done = 0;
  const outcomes: DramaOutcome[] = [];
  const worker = async (): Promise<void> => {
    while (next < placed.length && !signal.aborted) {
      outcomes.push(await curateDrama(placed[next++]!, setting, ask));
      onProgress?.({ phase: "curate", done: ++done, total: placed.length, note: `${calls} calls, spent ${client.spent().toFixed(3)}` });
    }
  };
  try {
    await Promise.all(Array.from({ length: teacher.inFlight }, () => worker()));
  } finally {
    if (!options.client) await client.close();
  }
  if (failure) throw failure;
  if (options.signal?.aborted) stopped ??= "signal";
  return { isComplete: stopped === null && outcomes.length === placed.length && outcomes.every(({ isParked }) => !isParked), stopped, calls, cost: client.spent(), funnel: funnelOf(outcomes) };
}
