import { generationIdentity, generationSettings, loadSetting, openSqliteLedger, parseCurationConfig, replayDrama, type CurationConfig, type CurationConfigInput, type DramaRecord, type StepLedger, type StepResult, type StepRow } from "@dramascope/curation";
import { createRandom, sha256, type Quality, type Split } from "@dramascope/schema";

/** All of a stream. */
export async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of stream) all.push(one);
  return all;
}

/** Settings of a small curation; what is given replaces whole parts. */
export function smallConfig(more: Partial<CurationConfigInput> = {}): CurationConfig {
  return parseCurationConfig({
    teacher: { baseURL: "http://127.0.0.1:9/v1", model: "teacher-1", prices: { currency: "USD", date: "2026-11-01", bands: [{ in: 0.25, out: 2 }] } },
    rounds: { max: 4, perClassMax: {} },
    ...more,
  });
}

/** A drama of class 1 … 5 in turn; every sixth is for evaluation and every sixth for GRPO. */
export function smallDrama(i: number, more: Partial<DramaRecord> & { comments?: string[]; genre?: string } = {}): DramaRecord {
  const { comments = ["What a twist!", "first", `She cried in episode ${i % 5}`], genre = i % 2 === 0 ? "revenge" : "romance", ...record } = more;
  const dramaId = more.dramaId ?? `73000000000000${String(i).padStart(5, "0")}`;
  const split: Split = i % 6 === 4 ? "eval" : i % 6 === 5 ? "grpo" : "sft";
  return {
    dramaId,
    order: sha256(dramaId),
    contentHash: sha256(`content ${dramaId}`),
    quality: (1 + (i % 5)) as Quality,
    split,
    groupId: dramaId,
    drama: { dramaId, genre, episodes: Array.from({ length: 5 }, (_, k) => ({ index: k + 1, path: `/secret/place/${i}/${k}.mp4`, durationSeconds: 90, sha256: sha256(`${i} ${k}`) })), comments: comments.map((text, k) => ({ text, likes: 10 - k })), classCalibration: "c".repeat(64) },
    ...record,
  };
}

/** Share of answers of each kind that go wrong, in a way that depends on step and seed alone. */
export interface Faults {
  seed?: number;
  blocked?: number;
  failed?: number;
  parked?: number;
  /** Answers that name another class. */
  mismatch?: number;
  /** Filter votes that say no. */
  rejected?: number;
}

const done = (content: string): StepResult => ({ state: "done", content, code: null, finish: "stop", model: "teacher-1-2026", attempts: 1, cost: 0.01 });
const failed = (state: "failed" | "blocked", code: string, content: string | null = null): StepResult => ({ ...done(""), state, code, content });

/** Text of a chain of thought that no local rule remarks on. */
export const thinkOf = (dramaId: string, round: number): string =>
  `The slap at 0:07 in episode 1 of ${dramaId} starts a chain that the torn letter in episode 3 closes, and the acting stays quiet (${round}). Strengths: the opening slap; the quiet ward scene. Weaknesses: the office set is reused.`;

/** What the teacher answers; undefined puts the step aside. */
export function answerTo(step: StepRow, record: DramaRecord, { seed = 1, blocked = 0, failed: unusable = 0, parked = 0, mismatch = 0.4, rejected = 0.3 }: Faults = {}): StepResult | undefined {
  const random = createRandom(seed, { stream: Number.parseInt(step.key.slice(0, 8), 16) });
  const [luck, second] = [random.uniform(), random.uniform()];
  if (luck < parked) return undefined;
  if (luck < parked + blocked) return failed("blocked", "content_policy");
  if (luck < parked + blocked + unusable) return failed("failed", "TRUNCATED", "{");
  if (step.kind === "caption") return done(`A girl of drama ${record.dramaId} marries a hidden heir.`);
  if (step.kind === "sample") {
    const answer = second < mismatch ? 1 + ((record.quality + random.below(4)) % 5) : record.quality;
    return done(JSON.stringify({ think: thinkOf(record.dramaId, step.round), answer }));
  }
  if (step.kind === "filter") return done(JSON.stringify({ reason: "checked against the summary", valid: second >= rejected }));
  const labels = record.drama.comments.map((_, i) => ({ i, label: i % 3 === 1 ? 0 : 1 }));
  return done(JSON.stringify({ labels: step.part === 1 && second < 0.3 ? labels.slice(1) : labels.slice(0, step.part === 1 ? labels.length : 1) }));
}

/** Answers everything that can be asked, `width` steps at a time, until nothing is left. */
export async function answerAll(ledger: StepLedger, config: CurationConfig, answer: (step: StepRow, record: DramaRecord) => StepResult | undefined, { width = 64, most = Infinity }: { width?: number; most?: number } = {}): Promise<number> {
  const setting = await loadSetting(config);
  const { generation } = await ledger.openGeneration(generationIdentity(setting), generationSettings(setting));
  for await (const { drama, answers } of ledger.answersByDrama(generation)) await ledger.plan(replayDrama(setting, drama, answers).missing, generation);
  for (let count = 0; ; ) {
    const leased = await ledger.lease({ owner: "test", max: Math.min(width, most - count), ttlMs: 60_000, generation });
    if (leased.length === 0) return generation;
    count += leased.length;
    await Promise.all(
      leased.map(async ({ step, drama }) => {
        const result = answer(step, drama);
        const place = { key: step.key, owner: "test", fence: step.fence };
        if (result === undefined) await ledger.park({ ...place, until: Infinity, code: "HTTP_503", attempts: 6, cost: 0 });
        else await ledger.commit({ ...place, result, next: (answers) => replayDrama(setting, drama, answers).missing });
      }),
    );
  }
}

/** A ledger in memory whose dramas have been asked about. */
export async function answeredLedger(records: readonly DramaRecord[], config: CurationConfig, faults: Faults = {}): Promise<StepLedger> {
  const ledger = openSqliteLedger(":memory:");
  await ledger.putDramas(records);
  await answerAll(ledger, config, (step, record) => answerTo(step, record, faults));
  return ledger;
}
