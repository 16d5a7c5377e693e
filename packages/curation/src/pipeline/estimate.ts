import { costOf } from "@dramascope/chat-client";
import type { Split } from "@dramascope/schema";
import type { DramaRecord } from "../ledger/drama-types.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import { STAGE_KINDS, type StageKind, type StepRow } from "../ledger/step-types.ts";
import type { CurationConfig } from "../config.ts";
import { findGeneration } from "./generation.ts";
import { placeDramas, readOnce, storedHashes, storedSplits } from "./import-dramas.ts";
import { dramasFromFiles, dramasFromProgram, type LabelledDrama } from "./read-input.ts";
import { hasRounds, maxRounds, replayDrama } from "./replay-drama.ts";
import type { LoadPictures } from "./media.ts";
import { episodeFacts } from "./request.ts";
import { assertRunnable } from "./runnable.ts";
import { loadSetting, TASK_OF, type CurationSetting } from "./setting.ts";
import { hashEpisodes, recordOf, type KnownHash } from "./store-drama.ts";

/** Least, likely and most of something. */
export interface Range {
  low: number;
  expected: number;
  high: number;
}

/** What a kind of step will take. */
export interface StageEstimate {
  calls: Range;
  promptTokens: Range;
  completionTokens: Range;
  /** In the currency of the prices; all 0 without prices. */
  cost: Range;
}

/** What a run will take, before anything is paid. */
export interface Estimate {
  /** Dramas by split; equal files are only found by a run, which may bring some of them together. */
  dramas: Record<Split, number>;
  /** Lines that a run would leave out, with file and line in its `rejected.jsonl`. */
  rejected: number;
  /** Dramas of which the chosen form of media shows nothing: the teacher is asked on their transcripts alone. */
  withoutMedia: number;
  stages: Record<StageKind, StageEstimate>;
  total: StageEstimate;
  /** Null without prices. */
  currency: string | null;
  /** The settings' budget; null without one. */
  budget: number | null;
}

/** What to estimate. */
export interface EstimateOptions {
  config: CurationConfig;
  /** Instead of the settings' files. */
  dramas?: AsyncIterable<LabelledDrama> | Iterable<LabelledDrama>;
  /** What it holds is not asked again. It is read, nothing else. */
  ledger?: StepLedger;
  /** So many dramas, the first in the order of the export. Default all. */
  limit?: number;
  /** Kinds of steps to ask. Default all. */
  stages?: readonly StageKind[];
  /** As for a run: then every drama counts as shown. */
  loadPictures?: LoadPictures;
  signal?: AbortSignal;
}

/** Share of samples that name the known class, as published for such teachers, and of those that pass the filter. */
const HIT_SHARE = 0.385;
const PASS_SHARE = 0.7;
/** Tokens of a drama's frames where the settings name no budget. */
const MEDIA_TOKENS = 16_384;
/** A little more than tokens of common languages take, so that an estimate errs upwards. */
const BYTES_PER_TOKEN = 3;
/** Tokens of a short and of a usual answer; the longest is `teacher.maxTokens`. */
const ANSWER_TOKENS: Record<StageKind, readonly [low: number, expected: number]> = { caption: [150, 350], sample: [200, 500], filter: [30, 120], comments: [20, 250] };

const tokensOf = (text: string): number => Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN);

/** P(fewer than `need` of `tries` samples are valid). */
function tooFew(tries: number, need: number): number {
  const p = HIT_SHARE * PASS_SHARE;
  let sum = 0;
  let term = (1 - p) ** tries;
  for (let k = 0; k < need && k <= tries; k++) {
    sum += term;
    term *= ((tries - k) / (k + 1)) * (p / (1 - p));
  }
  return sum;
}

/** Calls that are left for one drama, by kind. */
function callsLeft(setting: CurationSetting, record: DramaRecord, answers: readonly StepRow[]): Record<StageKind, Range> {
  const { rounds: { min, stopAfterValid }, filter: { votes } } = setting.config;
  const { outcome, missing } = replayDrama(setting, record, answers);
  const asked = (kind: StageKind): number => missing.filter((step) => step.kind === kind).length;
  const once = (kind: StageKind): Range => ({ low: asked(kind), expected: asked(kind), high: asked(kind) });
  // Labels that are missing from the first answer are asked for once more.
  const comments = { ...once("comments"), high: 2 * asked("comments") };
  const left: Record<StageKind, Range> = { caption: once("caption"), sample: { low: 0, expected: 0, high: 0 }, filter: once("filter"), comments };
  const isOver = asked("caption") + asked("sample") + asked("filter") === 0 && !outcome.waitsForClass;
  if (isOver || !hasRounds(setting, record)) return left;
  const over = outcome.rounds.length;
  const need = stopAfterValid - outcome.valid.length;
  const isSampled = asked("filter") > 0;
  for (let round = over + 1; round <= maxRounds(setting, record.quality); round++) {
    const isSure = round <= min || round - over <= Math.max(1, need);
    const share = isSure ? 1 : tooFew(round - over - 1, need);
    if (!(isSampled && round === over + 1)) {
      left.sample.expected += share;
      left.sample.low += isSure ? 1 : 0;
      left.sample.high += 1;
      left.filter.expected += share * HIT_SHARE * ((votes + 1) / 2);
      left.filter.high += votes;
    }
  }
  return left;
}

/** Tokens of a prompt about one drama, its episodes included. */
function promptTokens(setting: CurationSetting, record: DramaRecord, kind: StageKind): number {
  const { config, templates } = setting;
  const template = templates[TASK_OF[kind]];
  if (kind === "comments") return tokensOf(template.render({ commentsJson: record.drama.comments.map(({ text }, i) => ({ i, text })) }));
  if (kind === "filter") return tokensOf(template.render({ groundTruth: record.quality, predicted: record.quality, think: "", caption: "" })) + ANSWER_TOKENS.sample[1] + ANSWER_TOKENS.caption[1];
  const hasMedia = record.drama.episodes.some(({ path, url }) => path !== undefined || url !== undefined);
  return tokensOf(template.render(episodeFacts(record, template))) + (hasMedia ? (config.frames.tokenBudget ?? MEDIA_TOKENS) : 0);
}

const nothing = (): StageEstimate => {
  const zero = (): Range => ({ low: 0, expected: 0, high: 0 });
  return { calls: zero(), promptTokens: zero(), completionTokens: zero(), cost: zero() };
};

const FIGURES = ["calls", "promptTokens", "completionTokens", "cost"] as const;
const BOUNDS = ["low", "expected", "high"] as const;

function add(sum: StageEstimate, more: StageEstimate): void {
  for (const figure of FIGURES) for (const bound of BOUNDS) sum[figure][bound] += more[figure][bound];
}

function stageOf({ config: { teacher } }: CurationSetting, kind: StageKind, calls: Range, prompt: number): StageEstimate {
  const [low, expected] = ANSWER_TOKENS[kind];
  const answer: Range = { low: Math.min(low, teacher.maxTokens), expected: Math.min(expected, teacher.maxTokens), high: teacher.maxTokens };
  const stage = { ...nothing(), calls };
  for (const bound of BOUNDS) {
    stage.promptTokens[bound] = calls[bound] * prompt;
    stage.completionTokens[bound] = calls[bound] * answer[bound];
    if (teacher.prices) stage.cost[bound] = calls[bound] * costOf(teacher.prices, { promptTokens: prompt, completionTokens: answer[bound], source: "estimated" });
  }
  return stage;
}

/** Dramas as a run would take them in, without writing anything. Files that the ledger does not know are not read: their equals are not found. */
async function* records(setting: CurationSetting, { dramas, ledger, loadPictures, signal }: EstimateOptions, notes: Pick<Estimate, "dramas" | "rejected" | "withoutMedia">): AsyncGenerator<DramaRecord> {
  const { config } = setting;
  const source = dramas ? dramasFromProgram(config, dramas) : config.input && dramasFromFiles(config, config.input);
  if (!source) return;
  const hashes = (dramaId: string): KnownHash => {
    const stored = ledger && storedHashes(ledger, dramaId);
    return async (file) => (await stored?.(file)) ?? null;
  };
  const reading = { config, source, ...(loadPictures ? { loadPictures } : {}), ...(signal ? { signal } : {}) };
  const first = await readOnce(reading, hashes);
  const { places } = placeDramas(reading, first.rows, ledger ? await storedSplits(ledger) : new Map());
  notes.rejected = first.rejected.length;
  notes.withoutMedia = first.withoutMedia;
  for await (const one of source.read()) {
    const { dramaId } = one.drama;
    const placement = places.get(dramaId);
    if (placement === undefined || !places.delete(dramaId)) continue;
    notes.dramas[placement.split]++;
    yield recordOf(one, await hashEpisodes(one.drama, config, hashes(dramaId)), placement, config);
  }
}

/**
 * Counts what a run would ask and what that would cost, from likely shares of right and accepted samples. Nothing is sent and nothing is written. Attempts beyond the first are not
 * counted; `high` is every round with the longest answers.
 *
 * @throws CurationError and DataError as `runCuration` for settings and files.
 */
export async function estimate(options: EstimateOptions): Promise<Estimate> {
  const { config, ledger, limit = Infinity, stages: kinds = STAGE_KINDS } = options;
  assertRunnable(config);
  const setting = await loadSetting(config);
  const generation = ledger && findGeneration(await ledger.generations(), setting)?.generation;
  const result: Estimate = {
    dramas: { sft: 0, grpo: 0, eval: 0 },
    rejected: 0,
    withoutMedia: 0,
    stages: { caption: nothing(), sample: nothing(), filter: nothing(), comments: nothing() },
    total: nothing(),
    currency: config.teacher.prices?.currency ?? null,
    budget: config.budget.maxCost ?? null,
  };
  let chosen: ReadonlySet<string> | undefined;
  if (limit !== Infinity) {
    const orders: { id: string; order: string }[] = [];
    for await (const { dramaId, order, split } of records(setting, options, structuredClone(result))) if (split !== "eval") orders.push({ id: dramaId, order });
    chosen = new Set(orders.sort((a, b) => (a.order < b.order ? -1 : 1)).slice(0, limit).map(({ id }) => id));
  }
  for await (const record of records(setting, options, result)) {
    if (record.split === "eval" || chosen?.has(record.dramaId) === false) continue;
    const answers: StepRow[] = [];
    if (ledger && generation !== undefined) for await (const row of ledger.stream({ drama: record.dramaId, generation })) answers.push(row);
    const left = callsLeft(setting, record, answers);
    for (const kind of kinds) if (left[kind].high > 0) add(result.stages[kind], stageOf(setting, kind, left[kind], promptTokens(setting, record, kind)));
  }
  for (const kind of kinds) add(result.total, result.stages[kind]);
  return result;
}
