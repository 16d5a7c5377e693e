import { createTeacher, createTeacherClient, systemClock, type Limits, type TeacherClient } from "@dramascope/chat-client";
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { CurationConfig } from "../config.ts";
import { CurationError } from "../errors.ts";
import { openLedger } from "../ledger/open-ledger.ts";
import type { SharedSlots } from "../ledger/postgres-slots.ts";
import type { Gate } from "../ledger/generation-types.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import { STAGE_KINDS } from "../ledger/step-types.ts";
import { askStep, type StepAsker } from "./ask-step.ts";
import { openGeneration } from "./generation.ts";
import { importDramas, type ImportReport } from "./import-dramas.ts";
import { teacherMedia } from "./media.ts";
import { planDramas } from "./plan-dramas.ts";
import { dramasFromFiles, dramasFromProgram } from "./read-input.ts";
import type { CurationOptions, RunSummary } from "./run-options.ts";
import { writeRunRecord } from "./run-record.ts";
import { assertRunnable } from "./runnable.ts";
import { RunTally } from "./run-tally.ts";
import { loadSetting, runIdOf, type CurationSetting } from "./setting.ts";
import { settleGates } from "./settle-gates.ts";
import { createStopping } from "./stopping.ts";
import { hasOpenSteps, workSteps } from "./work-steps.ts";

const LEASE_MS = 30_000;

/** Client of the settings' provider. */
function clientOf({ config, apiKey, env = process.env, clock }: CurationOptions): TeacherClient {
  const { apiKeyEnv, baseURL, capabilities, media, timeouts } = config.teacher;
  const key = apiKey ?? (apiKeyEnv === undefined ? undefined : env[apiKeyEnv]);
  if (apiKeyEnv !== undefined && (key === undefined || key === "")) throw new CurationError(`the environment variable ${apiKeyEnv} is not set`, { code: "TEACHER_UNAVAILABLE", hint: "Set it to the provider's key." });
  return createTeacherClient({
    baseURL,
    callTimeoutMs: timeouts.callMs,
    capabilities: { ...capabilities, frames: media === "frames", videoUrl: media === "video_url", fileId: media === "file_id" },
    ...(key === undefined ? {} : { apiKey: key }),
    ...(clock ? { clock } : {}),
  });
}

/** The provider's limits in plain form. */
function limitsOf({ teacher: { limits: { inFlight, windowMs, rpm, tpm } } }: CurationConfig): Limits {
  return { inFlight, windowMs, ...(rpm === undefined ? {} : { rpm }), ...(tpm === undefined ? {} : { tpm }) };
}

/** Sending times that all workers of a Postgres ledger share; undefined for any other ledger, or without a limit. */
async function slotsOf(config: CurationConfig, env: Readonly<Record<string, string | undefined>>): Promise<SharedSlots | undefined> {
  const { ledger, teacher } = config;
  const limits = limitsOf(config);
  if (ledger?.driver !== "postgres" || (limits.rpm === undefined && limits.tpm === undefined)) return undefined;
  const { openPostgresSlots } = await import("../ledger/postgres-slots.ts");
  return openPostgresSlots(env[ledger.urlEnv] ?? "", limits, { resource: teacher.model, ...(ledger.schema === undefined ? {} : { schema: ledger.schema }) });
}

/** Reads the dramas that options or settings give into the ledger. */
async function takeIn(options: CurationOptions, ledger: StepLedger): Promise<{ report: ImportReport; ids: Set<string> } | undefined> {
  const { config, dramas, previousSplit, env = process.env, signal, onProgress, onEvent } = options;
  const { saltEnv } = config.comments;
  const commentSalt = options.commentSalt ?? (saltEnv === undefined ? undefined : env[saltEnv]);
  if (saltEnv !== undefined && !commentSalt) throw new CurationError(`the environment variable ${saltEnv} is not set`, { code: "CONFIG_INVALID", hint: "Set it to a long random text and keep it, or leave comments.saltEnv out." });
  const source = dramas ? dramasFromProgram(config, dramas) : config.input && dramasFromFiles(config, config.input);
  if (!source) return undefined;
  const taken = await importDramas({ config, source, ...(options.loadPictures ? { loadPictures: options.loadPictures } : {}), ...(previousSplit ? { previousSplit } : {}), ...(commentSalt === undefined ? {} : { commentSalt }), ...(signal ? { signal } : {}), ...(onProgress ? { onProgress } : {}) }, ledger);
  onEvent?.({ type: "imported", report: taken.report });
  return taken;
}

async function curate(options: CurationOptions, setting: CurationSetting, ledger: StepLedger, client: TeacherClient): Promise<RunSummary> {
  const { config, clock = systemClock, limit, stages: kinds = STAGE_KINDS, journal, slots, signal } = options;
  const { limits, prices, maxAttempts, backoffMs } = config.teacher;
  const { owner = `${hostname()} ${process.pid} ${randomUUID().slice(0, 8)}`, leaseMs = LEASE_MS, concurrency = config.concurrency ?? limits.inFlight } = options;
  // A class has ended a round only when all of its dramas have: a few of them decide nothing for the others.
  const { maxCostPerNewDrama: _waves, ...ungated } = config.rounds;
  const rules: CurationSetting = limit === undefined ? setting : { ...setting, config: { ...config, rounds: ungated } };
  const opened = await openGeneration(ledger, setting, options.isNewGeneration ?? false);
  const { generation } = opened;
  const stopping = createStopping({ signal, drainMs: config.drainMs, clock });
  const tally = new RunTally({ clock, spent: () => ledger.spent(), onEvent: options.onEvent, onProgress: options.onProgress });
  const teacher = createTeacher({
    // Calls on the wire outlive the end of all waits by `drainMs`.
    client: { call: (request) => client.call(request, stopping.hard), capabilities: () => client.capabilities(), close: () => client.close() },
    limits: limitsOf(config),
    spendBook: ledger,
    maxAttempts,
    backoffMs,
    clock,
    onEvent: (event) => tally.attempt(event),
    ...(prices ? { prices } : {}),
    ...(slots ? { slots } : {}),
    ...(journal === undefined ? {} : { journal }),
  });
  const isStopped = (): boolean => stopping.soft.aborted;
  let gates: readonly Gate[] = [];
  let taken: Awaited<ReturnType<typeof takeIn>>;
  try {
    const media = teacherMedia(config, { ...options, signal: stopping.soft });
    taken = isStopped() ? undefined : await takeIn(options, ledger);
    const asker: StepAsker = { setting: rules, ledger, teacher, media, owner, gates: () => gates, ids: taken?.ids, stopping, tally };
    await writeRunRecord(setting, opened, options.dramas ? undefined : config.input);
    for (let isFirst = true; !isStopped(); isFirst = false) {
      gates = await ledger.gates(generation);
      const planned = await planDramas(rules, ledger, generation, gates, { signal: stopping.soft, ...(taken ? { ids: taken.ids } : {}), ...(limit === undefined ? {} : { limit }) });
      tally.dramas(planned);
      // Answers that came along from another generation plan nothing by themselves: what follows from them is seen here. So is what another worker has planned for both.
      if (!isFirst && planned.added === 0 && !(await hasOpenSteps({ ledger, generation, kinds }))) break;
      await workSteps({ ledger, generation, owner, concurrency, leaseMs, kinds, maxLeased: limits.inFlight, clock, stop: stopping.soft, work: (leased, isHeld) => askStep(asker, leased, isHeld) });
      if (!isStopped()) await settleGates(rules, ledger, generation, taken?.ids);
    }
    const failure = stopping.failure();
    if (failure) throw failure.error;
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) throw error;
  } finally {
    stopping.close();
    await teacher.close();
  }
  const counts = await ledger.counts(generation);
  const stopped = stopping.reason();
  return {
    isComplete: stopped === null && kinds.every((kind) => counts[kind].planned + counts[kind].leased + counts[kind].parked === 0),
    stopped,
    runId: runIdOf(setting),
    generation,
    calls: tally.calls,
    cost: tally.cost,
    spent: ledger.spent(),
    currency: prices?.currency ?? null,
    progress: tally.progress(),
    counts,
    imported: taken?.report ?? null,
  };
}

/**
 * Asks the teacher everything that the ledger does not hold yet. The same call again goes on where it stopped: what was answered is never paid twice, and after a kill at most the
 * calls in flight are repeated. Stopped by its signal or by the budget it ends in order, with a summary that says so.
 *
 * @throws CurationError `TEACHER_UNAVAILABLE` when the provider refuses every call (nothing is marked as failed), `GENERATION_CHANGED`, `CONFIG_INVALID`, `LABELS_MIXED`, those of the
 *         ledger; DataError for files that cannot be read; VideoError where no ffmpeg can be used.
 */
export async function runCuration(options: CurationOptions): Promise<RunSummary> {
  const { config, env = process.env, clock } = options;
  assertRunnable(config);
  const setting = await loadSetting(config);
  const own: { close: () => Promise<void> }[] = [];
  const opened = <T extends { close: () => Promise<void> }>(one: T): T => {
    own.unshift(one);
    return one;
  };
  try {
    const ledger = options.ledger ?? opened(await openLedger(config, env, clock ? { clock } : {}));
    const client = options.client ?? opened(clientOf(options));
    const shared = options.slots ? undefined : await slotsOf(config, env);
    if (shared) opened(shared);
    return await curate(shared ? { ...options, slots: shared } : options, setting, ledger, client);
  } finally {
    const ends = await Promise.allSettled(own.map((one) => one.close()));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }
}
