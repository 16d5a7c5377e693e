import { QwenVlError } from "../errors.ts";
import { badOption, checkInteger, checkWord } from "../options.ts";
import type { MropeRule } from "../config-types.ts";
import type { Segment } from "../prompt-types.ts";
import { mergedGrid } from "../vision/grid.ts";

/** Options of {@link positionIds}. */
export interface PositionOptions {
  /** Default `qwen`. */
  rule?: MropeRule;
  /** Patches merged along each side. */
  spatialMerge: number;
  tokensPerSecond: number;
}

/** Three-axis positions of a sequence. */
export interface Positions {
  /** [3·S], axis-major: time, height, width. */
  positionIds: Int32Array;
  /** Position of a later token minus its index. */
  delta: number;
  /** Position of the first token after the sequence. */
  nextPosition: number;
}

/** Time position of temporal grid `a`, in float32 arithmetic as the references compute it. */
function timeOf(a: number, secondsPerGrid: number, tokensPerSecond: number, rule: MropeRule): number {
  const seconds = Math.fround(secondsPerGrid);
  return rule === "qwen"
    ? Math.floor(Math.fround(Math.fround(Math.fround(a) * seconds) * tokensPerSecond))
    : Math.floor(Math.fround(a * Math.fround(tokensPerSecond * seconds)));
}

/** Larger than any context. */
const MOST_TOKENS = 2 ** 26;
/** Leaves room in an int32 for all that may follow. */
const MOST_POSITION = 2 ** 31 - 2 * MOST_TOKENS;

function refuse(what: string): never {
  throw new QwenVlError(what, { code: "POSITIONS", hint: "Segments count their tokens in whole numbers; a vision item spreads over seconds of its video." });
}

/** Tokens of a segment. */
function tokensOf(segment: Segment, place: number, spatialMerge: number): number {
  if ("text" in segment) {
    if (!Number.isSafeInteger(segment.text) || segment.text < 0) refuse(`segment ${place} has ${segment.text} tokens of text`);
    return segment.text;
  }
  const { frames, rows, columns } = mergedGrid("video" in segment ? segment.video : segment.image, spatialMerge);
  if ("image" in segment && frames !== 1) refuse(`segment ${place} is an image of ${frames} temporal grids, an image has one`);
  return frames * rows * columns;
}

/**
 * M-RoPE positions. Text moves all axes by one; a vision item spreads over time, rows and columns. Under `qwen` text goes on after
 * the largest position of any axis, under `hf5` after the larger side of the frame.
 *
 * @throws QwenVlError `BAD_OPTION` for an unknown rule or unusable sizes, `GRID` and `SECONDS` for an item, `POSITIONS` for counts or seconds that lead beyond int32.
 */
export function positionIds(segments: readonly Segment[], options: PositionOptions): Positions {
  const { rule = "qwen", spatialMerge, tokensPerSecond } = options;
  checkWord("rule", rule, ["qwen", "hf5"]);
  checkInteger("spatialMerge", spatialMerge, 1);
  if (!(tokensPerSecond > 0 && Number.isFinite(tokensPerSecond))) badOption("tokensPerSecond", tokensPerSecond, "a number above 0");
  const tokens = segments.reduce((sum, segment, i) => sum + tokensOf(segment, i, spatialMerge), 0);
  if (tokens > MOST_TOKENS) refuse(`the segments have ${tokens} tokens, at most ${MOST_TOKENS} are numbered`);
  const axes: [number[], number[], number[]] = [[], [], []];
  let next = 0;
  for (const segment of segments) {
    if ("text" in segment) {
      for (let i = 0; i < segment.text; i++, next++) for (const axis of axes) axis.push(next);
      continue;
    }
    const { frames, rows, columns } = mergedGrid("video" in segment ? segment.video : segment.image, spatialMerge);
    const seconds = "video" in segment ? segment.secondsPerGrid : 0;
    if (!Number.isFinite(seconds) || seconds < 0) throw new QwenVlError(`secondsPerGrid is ${seconds}, expected a number of seconds`, { code: "SECONDS", hint: "One grid is two frames: 2 seconds at 1 FPS." });
    let largest = next;
    for (let a = 0; a < frames; a++) {
      const time = next + timeOf(a, seconds, tokensPerSecond, rule);
      if (!(time < MOST_POSITION)) refuse(`${seconds} seconds a grid put grid ${a} at position ${time}`);
      for (let y = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++) {
          axes[0].push(time);
          axes[1].push(next + y);
          axes[2].push(next + x);
        }
      }
      largest = Math.max(largest, time, next + rows - 1, next + columns - 1);
    }
    next = rule === "qwen" ? largest + 1 : next + Math.max(rows, columns);
  }
  const length = axes[0].length;
  const all = new Int32Array(3 * length);
  axes.forEach((axis, i) => all.set(axis, i * length));
  const nextPosition = length === 0 ? 0 : all.reduce((a, b) => Math.max(a, b), 0) + 1;
  return { positionIds: all, delta: nextPosition - length, nextPosition };
}
