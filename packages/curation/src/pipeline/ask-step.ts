import { ChatError, type Answer, type Teacher } from "@dramascope/chat-client";
import { DramascopeError } from "@dramascope/schema";
import { CurationError } from "../errors.ts";
import type { Gate } from "../ledger/generation-types.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import type { Leased, StepResult, StepRow, StepSpec } from "../ledger/step-types.ts";
import { resultOf } from "./judge-answer.ts";
import { redact } from "../redact.ts";
import { mediaFaultOf, type EpisodeMedia } from "./media.ts";
import { replayDrama } from "./replay-drama.ts";
import { requestOf } from "./request.ts";
import type { RunTally } from "./run-tally.ts";
import type { CurationSetting } from "./setting.ts";
import type { Stopping } from "./stopping.ts";

/** What asking a step needs. */
export interface StepAsker {
  setting: CurationSetting;
  ledger: StepLedger;
  teacher: Teacher;
  media: (record: Leased["drama"]) => EpisodeMedia;
  owner: string;
  /** Decisions on classes that hold now. */
  gates: () => readonly Gate[];
  /** Dramas that this run is about; default all of the ledger. */
  ids?: ReadonlySet<string> | undefined;
  stopping: Stopping;
  tally: RunTally;
}

/** A step that ended without asking. */
const unasked = (code: string): StepResult => ({ state: "failed", content: null, code, finish: null, model: null, attempts: 0, cost: 0 });

/** Keeps what came of a step, and plans what follows from it in the same transaction. */
async function commit({ setting, ledger, owner, gates, tally }: StepAsker, { step, drama }: Leased, result: StepResult): Promise<void> {
  const { key, fence } = step;
  let isDecided = false;
  const next = (answers: StepRow[]): StepSpec[] => {
    const { missing } = replayDrama(setting, drama, answers, gates());
    isDecided = missing.length === 0;
    return missing;
  };
  const kept = await ledger.commit({ key, owner, fence, result, next });
  if (kept === "ok") tally.ended(result.state, isDecided);
  else tally.stale(key);
}

/**
 * Whether a step is still to be asked. It can be left over from an input that had its drama, from before settings changed, or from a round that now waits for one that is asked anew.
 * A round that was asked for counts, so that decisions on its class no longer matter.
 */
function isDue({ setting, gates, ids }: StepAsker, { step, drama, answers }: Leased): boolean {
  return ids?.has(drama.dramaId) !== false && replayDrama(setting, drama, [...answers, step], gates()).missing.some(({ key }) => key === step.key);
}

/** The answer to a step, or the reason why it cannot be asked. */
async function answerTo({ setting, teacher, media, stopping }: StepAsker, leased: Leased, isHeld: () => boolean): Promise<Answer | StepResult> {
  const { key } = leased.step;
  try {
    const request = await requestOf(setting, leased, media(leased.drama));
    // Whatever waits ends with a stop; what is on the wire has a signal of its own.
    return await teacher.ask(request, { key, signal: stopping.soft, isWanted: () => isHeld() && !stopping.soft.aborted });
  } catch (error) {
    const code = mediaFaultOf(error);
    if (code === undefined) throw error;
    return unasked(code);
  }
}

const isUnwanted = (error: unknown): boolean => error instanceof ChatError && error.code === "CALL_UNWANTED";

/** Whether an error is how a wait ends when the run is stopped. */
const isEndOfWait = ({ soft }: Stopping, error: unknown): boolean => soft.aborted && (error === soft.reason || isUnwanted(error) || (DramascopeError.isInstance(error) && error.code === "VIDEO_CANCELLED"));

/**
 * Asks one step that was leased and keeps what came of it. Whatever breaks ends the run, and the step is planned again.
 *
 * @param isHeld Whether the lease goes on. Nothing is sent under one that may be another worker's by now, which may have paid for the answer.
 */
export async function askStep(asker: StepAsker, leased: Leased, isHeld: () => boolean): Promise<void> {
  const { setting, ledger, owner, stopping, tally } = asker;
  const { key, fence } = leased.step;
  const giveBack = (): Promise<void> => ledger.release([key], owner);
  tally.begun();
  try {
    if (!isDue(asker, leased)) {
      await ledger.retire([key], owner);
      return;
    }
    const answer = await answerTo(asker, leased, isHeld);
    if ("state" in answer) await commit(asker, leased, answer);
    else if (answer.kind === "budget") {
      stopping.budgetReached();
      await giveBack();
    } else if (answer.kind === "fatal") {
      const error = new CurationError(`the teacher refuses calls: ${answer.code}: ${redact(answer.message)}`, { code: "TEACHER_UNAVAILABLE", hint: "Check address, key, account and the model's name; nothing was marked as failed." });
      stopping.drain({ error });
      await giveBack();
    } else if (answer.kind === "parked") {
      const { code, attempts, cost } = answer;
      if ((await ledger.park({ key, owner, fence, until: Infinity, code, attempts, cost })) === "ok") tally.parked();
      else tally.stale(key);
    } else await commit(asker, leased, resultOf(setting, leased, answer));
  } catch (error) {
    if (isUnwanted(error) && !isHeld()) {
      tally.stale(key);
      return;
    }
    if (!stopping.hard.aborted && !isEndOfWait(stopping, error)) stopping.breakOff(error);
    // Where the ledger itself has failed the lease runs out.
    await giveBack().catch(() => undefined);
  } finally {
    tally.left();
  }
}
