import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { sha256 } from "@dramascope/schema";
import { openPostgresLedger, type Leased, type StepRow, type StepSpec } from "@dramascope/curation";

/** Rounds that follow a drama's caption, one after the other. */
export const ROUNDS = 3;

/** The step of a drama's round; round 0 is its caption. */
export const roundStep = (drama: string, round: number): StepSpec => ({ key: sha256(`${drama} ${round}`), kind: round === 0 ? "caption" : "sample", drama, round, part: 1 });

const nextRound = (drama: string, answers: readonly StepRow[]): StepSpec[] => {
  const round = Math.max(...answers.map((row) => row.round)) + 1;
  return round > ROUNDS ? [] : [roundStep(drama, round)];
};

/** Works until every step of generation 1 is done: asks nobody, but takes its time and notes in a file what it asked and what came of it. */
async function work(address: string, schema: string, owner: string, ttlMs: number, notes: string): Promise<void> {
  const ledger = await openPostgresLedger(address, { schema, bossSchema: null, patienceMs: 30_000 });
  const note = (line: object): void => appendFileSync(notes, `${JSON.stringify({ owner, ...line })}\n`);
  const ask = async ({ step }: Leased): Promise<void> => {
    const attempt = await ledger.reserve({ key: step.key, attempt: 1, task: "cot", drama: step.drama, estimate: 2, at: 0 });
    note({ asked: step.key });
    await sleep(30);
    await ledger.settle(attempt!, { cost: 1, outcome: "ok", isUnknown: false, at: 0 });
    const result = { state: "done" as const, content: `${owner} ${step.fence}`, code: null, finish: "stop", model: "m", attempts: 1, cost: 1 };
    note({ key: step.key, outcome: await ledger.commit({ key: step.key, owner, fence: step.fence, result, next: (answers) => nextRound(step.drama, answers) }) });
  };
  for (;;) {
    const leased = await ledger.lease({ owner, max: 4, ttlMs, generation: 1 });
    await Promise.all(leased.map(ask));
    if (leased.length > 0) continue;
    const { caption, sample } = await ledger.counts(1);
    if (caption.planned + caption.leased + sample.planned + sample.leased === 0) break;
    await ledger.wake(100);
  }
  await ledger.close();
}

if (import.meta.main) {
  const [address, schema, owner, ttlMs, notes] = process.argv.slice(2);
  await work(address!, schema!, owner!, Number(ttlMs), notes!);
}
