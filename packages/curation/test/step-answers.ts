import { replayDrama, type CurationSetting, type DramaRecord, type Gate, type Replay, type StepRow, type StepSpec } from "@dramascope/curation";
import { sha256, type Quality, type Split } from "@dramascope/schema";

/** A drama as the ledger keeps it. */
export function recordWith({ dramaId = "d1", quality = 3, split = "sft", comments = ["What a twist!", "first", "The aunt!"] }: { dramaId?: string; quality?: Quality; split?: Split; comments?: readonly string[] } = {}): DramaRecord {
  const drama = { dramaId, episodes: [1, 2, 3, 4, 5].map((index) => ({ index })), comments: comments.map((text, i) => ({ text, likes: 9 - i })) };
  return { dramaId, order: sha256(dramaId), contentHash: sha256(JSON.stringify([quality, drama])), quality, split, groupId: dramaId, drama };
}

/** How a step ends. */
export type Ending = Partial<Pick<StepRow, "state" | "content" | "code" | "cost" | "model">>;

/** A row of a step; without an ending it is planned. */
export function rowOf(step: StepSpec, ending: Ending = { state: "planned" }): StepRow {
  return { ...step, generation: 1, state: "done", content: null, code: null, finish: null, model: "teacher-sim-1", attempts: 1, cost: 0.001, fence: 1, owner: null, leaseUntil: null, parkedUntil: null, ...ending };
}

/** A chain of thought that is long enough to raise no flag. */
export const THINK = "The slap at 0:07 in episode 1 starts a chain that the torn letter in episode 3 closes, and the acting in the ward stays quiet. Strengths: the opening slap. Weaknesses: the office set is reused.";

export const saysClass = (answer: number, think = THINK): Ending => ({ content: JSON.stringify({ think, answer }) });
export const saysValid = (valid: boolean): Ending => ({ content: JSON.stringify({ reason: "because", valid }) });
export const saysLabels = (...labels: (0 | 1 | null)[]): Ending => ({ content: JSON.stringify({ labels: labels.flatMap((label, i) => (label === null ? [] : [{ i, label }])) }) });
export const CAPTION: Ending = { content: "Two sisters fight over a hotel." };

/** Answers whatever can be asked until nothing is, one step at a time. `pick` chooses the next of the missing steps. */
export function playThrough(setting: CurationSetting, record: DramaRecord, answer: (step: StepSpec) => Ending, { gates = [], pick = () => 0 }: { gates?: readonly Gate[]; pick?: (count: number) => number } = {}): Replay & { rows: StepRow[] } {
  const rows: StepRow[] = [];
  for (;;) {
    const replay = replayDrama(setting, record, rows, gates);
    if (replay.missing.length === 0) return { ...replay, rows };
    const step = replay.missing[pick(replay.missing.length)]!;
    rows.push(rowOf(step, answer(step)));
  }
}
