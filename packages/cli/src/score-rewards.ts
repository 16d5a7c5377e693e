import { scoreItem, solutionFault, toReference, type ReferenceWarning, type RewardPool, type ScoreItem } from "@dramascope/rewards";
import { readJsonl, writeJsonl, type RejectedLine } from "@dramascope/schema";
import type { CommandContext } from "./context.ts";
import { CliError } from "./errors.ts";
import { openRejectedList } from "./rejected-list.ts";

/** Options of {@link scoreRewards}. */
export interface ScoreRewardsOptions {
  input: string;
  output: string;
  /** Where bad lines are listed. */
  rejected: string;
  /** Whether that path was given: then the list is written even when it is empty. */
  isRejectedAsked: boolean;
  /** Share of bad lines above which there is no output, 0 … 1. */
  maxRejectedShare: number;
}

/** What {@link scoreRewards} counted. */
export interface ScoreRewardsCounts {
  /** Completions with a line in the output. */
  items: number;
  /** Of those, the ones whose total is null. */
  unscored: number;
  /** Bad lines. */
  rejected: number;
  /** Of the items, those whose reference carries the warning. */
  warnings: Map<ReferenceWarning, number>;
}

/** Lines of a file that are scored in one go; two such batches are in memory. */
const BATCH = 512;
const SHOWN_REJECTED = 3;

const lineItem = scoreItem.refine(({ referenceKey }) => referenceKey === undefined, { path: ["referenceKey"], error: "a file has no shared references; give solution, caption and comments in the line" });

async function* inBatches<T>(items: AsyncIterable<T>): AsyncGenerator<T[]> {
  let batch: T[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length === BATCH) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

type Scored = Awaited<ReturnType<RewardPool["score"]>>[number];

/** A line of the output, as HTTP has it: a wrong solution goes by the name it has in the file, and warnings are counted only. */
function rowOf({ id, solution }: ScoreItem, { warnings: _warnings, error, ...rewards }: Scored): object {
  return { id, ...rewards, error: error && (solutionFault(solution) ?? error) };
}

const place = ({ file, line, reason }: RejectedLine): string => `${file}:${line}: ${reason}`;

function checkShare(counts: ScoreRewardsCounts, first: RejectedLine | undefined, maxRejectedShare: number, list: string): void {
  const total = counts.items + counts.rejected;
  if (first === undefined || counts.rejected <= maxRejectedShare * total) return;
  throw new CliError(`${counts.rejected} of ${total} lines are bad, the first ${place(first)}`, {
    code: "TOO_MANY_REJECTED",
    hint: `Mend the file by the list in ${list}, or raise --max-rejected-share above ${maxRejectedShare}.`,
  });
}

/**
 * Scores a file into another one; memory does not grow with the file. Lines that are no items are left out and listed; the first are shown.
 *
 * @throws CliError `TOO_MANY_REJECTED`: the list is written, the output is not; errors of reading and writing, then neither is.
 */
export async function scoreRewards(options: ScoreRewardsOptions, pool: RewardPool, { signal, progress, say }: Pick<CommandContext, "signal" | "progress" | "say">): Promise<ScoreRewardsCounts> {
  const { input, output, rejected, isRejectedAsked, maxRejectedShare } = options;
  const counts: ScoreRewardsCounts = { items: 0, unscored: 0, rejected: 0, warnings: new Map() };
  const list = await openRejectedList(rejected, isRejectedAsked);
  let first: RejectedLine | undefined;
  const lines = readJsonl(input, lineItem, {
    onRejected: (line) => {
      first ??= line;
      if (counts.rejected++ < SHOWN_REJECTED) say(place(line));
      list.add(line);
    },
  });
  const score = async (batch: readonly ScoreItem[]): Promise<object[]> => {
    const scores = await pool.score(batch.map((item) => ({ completion: item.completion, reference: toReference(item) })), { signal });
    for (const { total, warnings } of scores) {
      counts.items++;
      if (total === null) counts.unscored++;
      for (const warning of warnings ?? []) counts.warnings.set(warning, (counts.warnings.get(warning) ?? 0) + 1);
    }
    progress({ phase: "score", done: counts.items });
    return scores.map((one, i) => rowOf(batch[i]!, one));
  };
  async function* scored(): AsyncGenerator<object> {
    let previous: Promise<object[]> | undefined;
    for await (const batch of inBatches(lines)) {
      const next = score(batch);
      next.catch(() => undefined); // reported when its turn comes
      if (previous) yield* await previous;
      previous = next;
    }
    if (previous) yield* await previous;
    await list.finish();
    checkShare(counts, first, maxRejectedShare, rejected);
  }
  try {
    await writeJsonl(output, scored());
  } finally {
    await list.discard();
  }
  return counts;
}
