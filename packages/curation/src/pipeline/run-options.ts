import type { Clock, SlotStore, TeacherClient, TeacherEvent } from "@dramascope/chat-client";
import type { OnProgress } from "@dramascope/schema";
import type { CurationConfig } from "../config.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import type { StageKind, StepState } from "../ledger/step-types.ts";
import type { SplitManifest } from "../split-dramas.ts";
import type { ImportReport } from "./import-dramas.ts";
import type { LoadFileId, LoadPictures } from "./media.ts";
import type { LabelledDrama } from "./read-input.ts";

/** Where a run stands. */
export interface RunProgress {
  /** Dramas with nothing left to ask, of this and of earlier runs. */
  dramasDecided: number;
  /** Dramas of this run. */
  dramas: number;
  /** Steps that this run has ended. */
  ended: number;
  /** Of them, those with a good answer. */
  done: number;
  /** Of them, those with an answer of no use. */
  failed: number;
  /** Of them, those that the provider refuses for their content. */
  blocked: number;
  /** Steps that were put aside after too many failed attempts. */
  parked: number;
  /** Steps that are being asked. */
  inFlight: number;
  /** Steps ended in a second, since this run began to ask. */
  perSecond: number;
  promptTokens: number;
  completionTokens: number;
  /** Money of the ledger: settled, unknown and reserved. */
  spent: number;
}

/** What happens in a run. */
export type CurationEvent =
  /** The dramas were read. */
  | { type: "imported"; report: ImportReport }
  /** A step began or ended. */
  | { type: "progress"; progress: RunProgress }
  /** A step was this worker's no longer when its answer came: another one has it. */
  | { type: "stale"; key: string }
  | TeacherEvent;

/** Options of {@link runCuration}. */
export interface CurationOptions {
  config: CurationConfig;
  /** Default a client of the settings' provider. */
  client?: TeacherClient;
  /** Default the settings' ledger, closed at the end. One that is given has its own budget and stays open. */
  ledger?: StepLedger;
  /** Instead of the settings' files. With neither, the ledger's dramas are gone on with. */
  dramas?: AsyncIterable<LabelledDrama> | Iterable<LabelledDrama>;
  /** Places of dramas that the ledger does not know yet. */
  previousSplit?: Pick<SplitManifest, "assignment">;
  /** Default frames of the episodes' files. */
  loadPictures?: LoadPictures;
  /** Needed for `teacher.media: file_id`. */
  loadFileId?: LoadFileId;
  /** The provider's key. Default the variable that `teacher.apiKeyEnv` names. */
  apiKey?: string;
  /** Secret under which comments are recognised again. Default the variable that `comments.saltEnv` names; with neither no hash of a raw comment is kept. */
  commentSalt?: string;
  /** Environment of keys and addresses. Default that of this process. */
  env?: Readonly<Record<string, string | undefined>>;
  /** JSONL file of all attempts, without texts. Default none. */
  journal?: string;
  /** Where sending times are booked. Default in memory, which is right for a single worker. */
  slots?: SlotStore;
  /** Default the time of this process. */
  clock?: Clock;
  /** Stops leasing; calls in flight get `drainMs` to end. */
  signal?: AbortSignal;
  onEvent?: (event: CurationEvent) => void;
  /** Dramas with nothing left to ask, of all. */
  onProgress?: OnProgress;
  /** Asks anew where prompts, model or sampling have changed. Default false: such a run is refused. */
  isNewGeneration?: boolean;
  /** So many dramas, the first in the order of the export. Steps that an earlier run has planned for others are asked, too. Default all. */
  limit?: number;
  /** Kinds of steps to ask. Default all. */
  stages?: readonly StageKind[];
  /** Calls at once. Default `concurrency` of the settings, else `teacher.limits.inFlight`. */
  concurrency?: number;
  /** Name of this worker. Default host name, process and a number. */
  owner?: string;
  /** How long a step is this worker's without a sign of life, in milliseconds. Default 30000. */
  leaseMs?: number;
}

/** How a run ended. */
export interface RunSummary {
  /** Nothing is left to ask, of the kinds that this run was about: every step has an answer or a reason why there is none. */
  isComplete: boolean;
  /** Why it stopped early. */
  stopped: "budget" | "signal" | null;
  /** From settings and seed: the same curation has the same id on every machine and day. */
  runId: string;
  generation: number;
  /** Requests of this run. */
  calls: number;
  /** Money of this run. */
  cost: number;
  /** Money of the ledger, all runs together, with what may have been paid. */
  spent: number;
  /** Currency of the prices; null without prices. */
  currency: string | null;
  progress: RunProgress;
  /** Steps of the generation by kind and state. */
  counts: Record<StageKind, Record<StepState, number>>;
  /** What came of reading the dramas; null when none were read. */
  imported: ImportReport | null;
}
