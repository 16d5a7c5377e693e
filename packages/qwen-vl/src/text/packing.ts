import { MASKED } from "../ops/attention.ts";
import type { RowPart } from "../train/dropout.ts";
import type { RowLayout } from "./shared-prefix.ts";

/** What packing needs of a prompt. */
interface PackablePrompt {
  ids: Int32Array;
  /** [3·S], axis-major. */
  positionIds: Int32Array;
  /** Position of the first completion token, on all axes. */
  nextPosition: number;
}

/** A prompt and the completions that follow it. */
export interface PromptGroup<P extends PackablePrompt = PackablePrompt> {
  prompt: P;
  completions: readonly ArrayLike<number>[];
}

/** Rows of several groups, ready for the decoder. */
export interface PackedRows {
  layout: RowLayout;
  /** Token ids of all rows, 0 in padding. */
  ids: Int32Array;
  /** [3·rows], axis-major, 0 in padding. */
  positions: Int32Array;
  /** [prompts·promptRows]: 0, and a large negative number in padding. */
  prefixBias: Float32Array;
  /** Last row of every prompt. */
  last: Int32Array;
  /** Row that predicts each completion token, in the order of groups, completions and tokens; among the prompts' last rows and then those of the completions. */
  predictors: Int32Array;
  /** The completion tokens in the same order. */
  targets: Int32Array;
  /** Number of tokens of each completion of each group. */
  lengths: number[][];
}

/** A length rounded up so that few different lengths occur: multiples of an eighth of the power of two below, at least `step`. */
export function bucketLength(n: number, step = 16): number {
  const fine = Math.max(step, 2 ** Math.floor(Math.log2(Math.max(1, n))) / 8);
  return Math.ceil(Math.max(1, n) / fine) * fine;
}

/** Row of the first token of group `index`. */
export function promptStart(layout: RowLayout, index: number): number {
  return index * layout.promptRows;
}

/** The rows of a layout by prompt and completion; `first` is the number of the first completion. */
export function rowParts({ prompts, promptRows, completions, completionRows, prefix }: RowLayout, first = 0): RowPart[] {
  const all = prefix === "given" ? [] : Array.from({ length: prompts }, (_, b): RowPart => ({ name: `prompt ${b}`, rows: promptRows }));
  for (let b = 0; b < prompts; b++) for (let n = 0; n < completions; n++) all.push({ name: `prompt ${b} completion ${first + n}`, rows: completionRows });
  return all;
}

/**
 * Lays groups out as rows; lengths are rounded up with {@link bucketLength}.
 *
 * @param promptRows Rows of every prompt; default those of the longest.
 */
export function packRows(groups: readonly PromptGroup[], promptRows = bucketLength(Math.max(...groups.map((g) => g.prompt.ids.length)))): PackedRows {
  const prompts = groups.length;
  const completions = Math.max(...groups.map((g) => g.completions.length));
  const longest = Math.max(0, ...groups.flatMap((g) => g.completions.map((c) => c.length)));
  const completionRows = completions === 0 ? 0 : bucketLength(longest);
  const layout: RowLayout = { prompts, promptRows, completions, completionRows };
  const rows = prompts * (promptRows + completions * completionRows);
  const ids = new Int32Array(rows);
  const positions = new Int32Array(3 * rows);
  const prefixBias = new Float32Array(prompts * promptRows);
  const predictors: number[] = [];
  const targets: number[] = [];
  groups.forEach(({ prompt, completions: own }, b) => {
    const length = prompt.ids.length;
    const start = promptStart(layout, b);
    ids.set(prompt.ids, start);
    for (let axis = 0; axis < 3; axis++) positions.set(prompt.positionIds.subarray(axis * length, (axis + 1) * length), axis * rows + start);
    prefixBias.fill(MASKED, start + length, start + promptRows);
    own.forEach((completion, n) => {
      const first = prompts * promptRows + (b * completions + n) * completionRows;
      for (let j = 0; j < completion.length; j++) {
        ids[first + j] = completion[j]!;
        for (let axis = 0; axis < 3; axis++) positions[axis * rows + first + j] = prompt.nextPosition + j;
        predictors.push(j === 0 ? b : first + j - 1 - prompts * (promptRows - 1));
        targets.push(completion[j]!);
      }
    });
  });
  return {
    layout, ids, positions, prefixBias,
    last: Int32Array.from(groups, ({ prompt }, b) => promptStart(layout, b) + prompt.ids.length - 1),
    predictors: Int32Array.from(predictors),
    targets: Int32Array.from(targets),
    lengths: groups.map((g) => g.completions.map((c) => c.length)),
  };
}

/** The rows of the completions alone, after prompts whose keys and values are given. */
export function completionsAlone(packed: PackedRows): PackedRows {
  const rows = packed.ids.length;
  const before = packed.layout.prompts * packed.layout.promptRows;
  const positions = new Int32Array(3 * (rows - before));
  for (let axis = 0; axis < 3; axis++) positions.set(packed.positions.subarray(axis * rows + before, (axis + 1) * rows), axis * (rows - before));
  return { ...packed, layout: { ...packed.layout, prefix: "given" }, ids: packed.ids.slice(before), positions };
}

/** Splits one value per completion token into arrays by group and completion. */
export function unpackTokens(flat: Float32Array, lengths: readonly (readonly number[])[]): Float32Array[][] {
  let at = 0;
  return lengths.map((group) => group.map((n) => flat.slice(at, (at += n))));
}
