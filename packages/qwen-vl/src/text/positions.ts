import { QwenVlError } from "../errors.ts";
import type { MropeRule, Segment } from "../types.ts";
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

/**
 * M-RoPE positions. Text moves all axes by one; a vision item spreads over time, rows and columns. Under `qwen` text goes on after
 * the largest position of any axis, under `hf5` after the larger side of the frame.
 */
export function positionIds(segments: readonly Segment[], options: PositionOptions): Positions {
  const { rule = "qwen", spatialMerge, tokensPerSecond } = options;
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
