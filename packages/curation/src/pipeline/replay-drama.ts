import { sha256, type Quality } from "@dramascope/schema";
import { readLabels } from "../answers/read-answer.ts";
import type { DramaRecord } from "../ledger/drama-types.ts";
import type { Gate } from "../ledger/generation-types.ts";
import type { StepRow, StepSpec } from "../ledger/step-types.ts";
import type { DramaDecision, DramaOutcome, Replay, RoundOutcome } from "./outcome.ts";
import { readCaption } from "./read-caption.ts";
import { replayRound } from "./replay-round.ts";
import type { CurationSetting } from "./setting.ts";
import { dramaSteps, type DramaSteps } from "./step-keys.ts";

const ENDED: ReadonlySet<StepRow["state"]> = new Set(["done", "failed", "blocked"]);

/** Steps of a replay: notes which ones count and which ones are still to be asked. */
export interface StepReader {
  /** The step's row once it has ended; otherwise the step is missing. */
  read(step: StepSpec): StepRow | undefined;
  /** Whether the ledger has the step in any state. */
  has(step: StepSpec): boolean;
  /** Names a problem with an answer. */
  refuse(step: StepSpec, code: string): void;
}

/** Whether sampling rounds of a drama are asked for. */
export const hasRounds = ({ config }: CurationSetting, { split }: DramaRecord): boolean => split === "sft" || (split === "grpo" && config.split.mode === "yield-first");

/** Most rounds of a class. */
export const maxRounds = ({ config: { rounds } }: Pick<CurationSetting, "config">, quality: Quality): number => rounds.perClassMax[`${quality}`] ?? rounds.max;

/** Labels of comments: asked for once, and once more for those that got none. */
function replayComments(setting: CurationSetting, record: DramaRecord, steps: DramaSteps, reader: StepReader): Pick<DramaOutcome, "comments" | "unresolved"> {
  const texts = record.drama.comments.map(({ text }) => text);
  const labels = new Map<string, 0 | 1>();
  for (let part = 1, open = texts; part <= 2 && open.length > 0; part++) {
    const step = steps.comments(part, open);
    const row = reader.read(step);
    if (row?.state !== "done") break;
    const parsed = readLabels({ content: row.content }, open, setting.config.comments.shape);
    if (!parsed.ok) {
      reader.refuse(step, parsed.error);
      break;
    }
    for (const [i, label] of parsed.value.labels.entries()) if (label !== null) labels.set(open[i]!, label);
    open = parsed.value.unresolved.map((i) => open[i]!);
  }
  return { comments: texts.filter((text) => labels.get(text) === 1), unresolved: texts.filter((text) => !labels.has(text)).length };
}

/** Rounds up to the one that is not over, or that the rules do not ask for any more. */
function replayRounds(setting: CurationSetting, record: DramaRecord, steps: DramaSteps, reader: StepReader, gates: readonly Gate[]): { rounds: RoundOutcome[]; waitsForClass: boolean } {
  const { min, stopAfterValid, maxCostPerNewDrama } = setting.config.rounds;
  const rounds: RoundOutcome[] = [];
  for (let round = 1; ; round++) {
    const isEnough = round > maxRounds(setting, record.quality) || (round > min && rounds.filter(({ verdict }) => verdict === "valid").length >= stopAfterValid);
    // A round that was asked for counts, whatever came of the rounds before when they were asked again.
    if (!reader.has(steps.sample(round))) {
      if (isEnough) break;
      if (maxCostPerNewDrama !== undefined && round > min) {
        const gate = gates.find((one) => one.quality === record.quality && one.round === round);
        if (!gate?.isOpen) return { rounds, waitsForClass: gate === undefined };
      }
    }
    const outcome = replayRound(setting, record, steps, reader, round);
    if (outcome === undefined) break;
    rounds.push(outcome);
  }
  return { rounds, waitsForClass: false };
}

/** Valid rounds that are kept, by seeded hash: neither the first nor the longest is preferred. */
function selectRounds({ config: { select } }: CurationSetting, { dramaId }: DramaRecord, valid: readonly RoundOutcome[]): RoundOutcome[] {
  const ranked = valid.map((one) => ({ one, rank: sha256(`${select.seed}\n${dramaId}\n${one.round}`) })).sort((a, b) => (a.rank < b.rank ? -1 : 1));
  return ranked.slice(0, select.cotPerDrama).map(({ one }) => one);
}

const nothingKnown = (record: DramaRecord): DramaOutcome => ({
  record, decision: "pending", caption: null, comments: [], unresolved: 0, rounds: [], valid: [], selected: [], problems: [], stepKeys: [], unused: [], waitsForClass: false,
});

/**
 * What is known about a drama from the steps that have ended, and which steps can be asked now. Pure: a run, a resumed run, an export and a report all look at this alone, so that
 * what follows from an answer is the same whenever, wherever and in whichever order answers come.
 *
 * @param answers The drama's steps in a generation, in any state and order; steps that have not ended are missing.
 * @param gates   Classes that may go on, where `rounds.maxCostPerNewDrama` is set.
 */
export function replayDrama(setting: CurationSetting, record: DramaRecord, answers: readonly StepRow[], gates: readonly Gate[] = []): Replay {
  const rows = new Map(answers.map((row) => [row.key, row]));
  const used = new Set<string>();
  const missing: StepSpec[] = [];
  const outcome = nothingKnown(record);
  const refuse = ({ kind, round }: StepSpec, code: string): void => void outcome.problems.push({ kind, round, code });
  const reader: StepReader = {
    has: ({ key }) => rows.has(key),
    refuse,
    read: (step) => {
      const row = rows.get(step.key);
      used.add(step.key);
      if (row === undefined || !ENDED.has(row.state)) {
        missing.push(step);
        return undefined;
      }
      outcome.stepKeys.push(step.key);
      if (row.state !== "done") refuse(step, row.code ?? row.state.toUpperCase());
      return row;
    },
  };

  let isBlocked = false;
  if (record.split !== "eval") {
    const steps = dramaSteps(setting, record);
    const caption = reader.read(steps.caption);
    isBlocked = caption?.state === "blocked";
    if (caption?.state === "done") {
      const parsed = readCaption({ content: caption.content });
      if (parsed.ok) outcome.caption = parsed.value;
      else refuse(steps.caption, parsed.error);
    }
    Object.assign(outcome, replayComments(setting, record, steps, reader));
    // Without a caption there is nothing to judge a chain of thought by.
    if (outcome.caption !== null && hasRounds(setting, record)) Object.assign(outcome, replayRounds(setting, record, steps, reader, gates));
  }
  outcome.valid = outcome.rounds.filter(({ verdict }) => verdict === "valid");
  outcome.selected = selectRounds(setting, record, outcome.valid);
  outcome.unused = answers.filter(({ key, state }) => ENDED.has(state) && !used.has(key)).map(({ key }) => key);
  outcome.decision = missing.length > 0 || outcome.waitsForClass ? "pending" : decide(outcome, isBlocked);
  return { outcome, missing };
}

/**
 * The outcome of {@link replayDrama} alone. Where nothing has ended it is known without the keys of steps, whose hashes would be most of the work: a report looks at large
 * catalogues that have hardly begun.
 */
export function replayOutcome(setting: CurationSetting, record: DramaRecord, answers: readonly StepRow[], gates: readonly Gate[] = []): DramaOutcome {
  const hasBegun = record.split === "eval" || answers.some(({ state }) => ENDED.has(state));
  return hasBegun ? replayDrama(setting, record, answers, gates).outcome : { ...nothingKnown(record), unresolved: record.drama.comments.length };
}

function decide({ record, caption, valid }: DramaOutcome, isBlocked: boolean): DramaDecision {
  if (record.split === "eval") return "kept";
  if (caption === null) return isBlocked ? "blocked" : "no-caption";
  return record.split === "sft" && valid.length === 0 ? "no-valid-round" : "kept";
}
