import { parentPort, workerData } from "node:worker_threads";
import { DramascopeError } from "@dramascope/schema";
import type { RewardSettings } from "./options.ts";
import { prepareReference, scoreCompletion, type PreparedReference, type RewardReference } from "./score.ts";
import { unscored, type PooledScore, type RewardFault, type ScoreTask } from "./task.ts";

/** What the pool hands to each of its threads. */
interface WorkerData {
  settings: RewardSettings;
  version: string;
}

/** Characters of references that a thread keeps prepared. */
const MAX_KEPT_CHARS = 4 * 1024 * 1024;

const { settings, version } = workerData as WorkerData;
/** Prepared references by their JSON, the longest unused first. */
const prepared = new Map<string, PreparedReference | RewardFault>();
let keptChars = 0;

const faultOf = (error: unknown): RewardFault =>
  DramascopeError.isInstance(error) ? { code: error.code, message: error.message } : { code: "INTERNAL", message: `scoring failed: ${error instanceof Error ? error.name : typeof error}` };

function referenceOf(json: string): PreparedReference | RewardFault {
  let reference = prepared.get(json);
  if (reference) {
    prepared.delete(json);
  } else {
    try {
      reference = prepareReference(JSON.parse(json) as RewardReference, settings);
    } catch (error) {
      reference = faultOf(error);
    }
    keptChars += json.length;
  }
  prepared.set(json, reference);
  for (const oldest of prepared.keys()) {
    if (keptChars <= MAX_KEPT_CHARS || oldest === json) break;
    prepared.delete(oldest);
    keptChars -= oldest.length;
  }
  return reference;
}

function scoreItem(completion: string, reference: PreparedReference | RewardFault, details: boolean): PooledScore {
  if ("code" in reference) return unscored(reference, version);
  try {
    const { state } = reference;
    const asked = details === state.options.details ? reference : { ...reference, state: { ...state, options: { ...state.options, details } } };
    const { warnings } = reference;
    return { ...scoreCompletion(completion, asked), error: null, ...(warnings.length > 0 && { warnings }) };
  } catch (error) {
    return unscored(faultOf(error), version);
  }
}

parentPort!.on("message", ({ id, job }: { id: number; job: ScoreTask }) => {
  const references = job.references.map(referenceOf);
  parentPort!.postMessage({ id, reply: job.items.map(([reference, completion]) => scoreItem(completion, references[reference]!, job.details)) });
});
parentPort!.postMessage("ready");
