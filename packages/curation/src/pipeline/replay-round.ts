import type { DramaRecord } from "../ledger/drama-types.ts";
import type { StepRow } from "../ledger/step-types.ts";
import { preflags } from "../preflags.ts";
import { readFilter } from "../answers/read-answer.ts";
import { safeText } from "../safe-text.ts";
import type { RoundOutcome } from "./outcome.ts";
import { readSample } from "./read-sample.ts";
import type { StepReader } from "./replay-drama.ts";
import type { CurationSetting } from "./setting.ts";
import { temperatureOf, type DramaSteps } from "./step-keys.ts";

/** Seconds of all episodes; undefined when one does not say. */
function durationOf({ drama }: DramaRecord): number | undefined {
  const seconds = drama.episodes.map(({ durationSeconds }) => durationSeconds);
  return seconds.length > 0 && seconds.every((one) => one !== undefined) ? seconds.reduce((sum, one) => sum + one, 0) : undefined;
}

/** One sampling round; undefined while it is not over. */
export function replayRound(setting: CurationSetting, record: DramaRecord, steps: DramaSteps, reader: StepReader, round: number): RoundOutcome | undefined {
  const { filter } = setting.config;
  const step = steps.sample(round);
  const row = reader.read(step);
  if (row === undefined) return undefined;
  const base: RoundOutcome = { round, temperature: temperatureOf(setting, round), predicted: null, verdict: "unusable", think: null, votes: [], preflags: [], modelReturned: row.model, stepKeys: [step.key] };
  if (row.state !== "done") return { ...base, verdict: row.state === "blocked" ? "blocked" : "unusable", ...(row.code === null ? {} : { code: row.code }) };
  const sample = readSample({ content: row.content });
  if (!sample.ok) {
    reader.refuse(step, sample.error);
    return { ...base, code: sample.error };
  }
  const { answer: predicted, think } = sample.value;
  const durationSeconds = durationOf(record);
  const read: RoundOutcome = { ...base, predicted, think, preflags: preflags({ think, predicted, ...(durationSeconds === undefined ? {} : { durationSeconds }) }) };
  // Rule 1 is free: the teacher judges only what agrees with the known class.
  if (predicted !== record.quality) return { ...read, verdict: "mismatch" };
  if (filter.preflagsReject && read.preflags.length > 0) return { ...read, verdict: "rejected", code: "PREFLAG" };
  return replayVotes(setting, steps, reader, read);
}

/** The filter's verdict: no more votes are asked for at a time than a majority needs. */
function replayVotes({ config: { filter } }: CurationSetting, steps: DramaSteps, reader: StepReader, round: RoundOutcome): RoundOutcome | undefined {
  const majority = (filter.votes + 1) / 2;
  const outcome: RoundOutcome = { ...round, votes: [], stepKeys: [...round.stepKeys] };
  let failure: string | undefined;
  let asked = 0;
  const yes = (): number => outcome.votes.filter(Boolean).length;
  const isOpen = (): boolean => asked < filter.votes && ((yes() < majority && yes() + filter.votes - asked >= majority) || reader.has(steps.vote(round.round, asked + 1)));
  while (isOpen()) {
    const last = Math.min(filter.votes, asked + Math.max(1, majority - yes()));
    const batch: (StepRow | undefined)[] = [];
    while (asked < last) {
      const step = steps.vote(round.round, ++asked);
      const row = reader.read(step);
      batch.push(row);
      if (row === undefined) continue;
      outcome.stepKeys.push(step.key);
      const parsed = row.state === "done" ? readFilter({ content: row.content }) : undefined;
      if (parsed?.ok) {
        outcome.votes.push(parsed.value.valid);
        outcome.reason ??= safeText(parsed.value.reason);
      } else {
        if (parsed) reader.refuse(step, parsed.error);
        failure ??= parsed?.error ?? row.code ?? row.state.toUpperCase();
      }
    }
    if (batch.includes(undefined)) return undefined;
  }
  if (yes() >= majority) return { ...outcome, verdict: "valid" };
  if (outcome.votes.includes(false)) return { ...outcome, verdict: "rejected" };
  return { ...outcome, verdict: "no-verdict", ...(failure === undefined ? {} : { code: failure }) };
}
