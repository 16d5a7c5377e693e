/** Frequencies of a rotary embedding in float32 arithmetic: one per pair of a head, and the position axis each one reads. */
export interface RopeTable {
  /** θ^(−2k/n) for k < n/2, float32 values. */
  frequencies: Float32Array;
  /** Index of the position axis of each frequency. */
  axes: Int32Array;
}

/** Cosines and sines [rows, frequencies]. */
export interface Angles {
  cos: Float32Array;
  sin: Float32Array;
}

function frequency(theta: number, k: number, n: number): number {
  return Math.fround(1 / Math.fround(theta ** Math.fround((2 * k) / n)));
}

/**
 * Table of the decoder's three-axis rope.
 *
 * @param sections Frequencies of the axes t, h, w; their sum is headDim / 2.
 */
export function decoderRope(headDim: number, theta: number, sections: readonly number[]): RopeTable {
  const axes = Int32Array.from(sections.flatMap((count, axis) => new Array<number>(count).fill(axis)));
  return { frequencies: Float32Array.from(axes, (_, k) => frequency(theta, k, headDim)), axes };
}

/** Table of the tower's two-axis rope: the first half of the frequencies reads y, the second x. */
export function visionRope(headDim: number, theta: number): RopeTable {
  const half = headDim / 4;
  const once = Array.from({ length: half }, (_, k) => frequency(theta, k, headDim / 2));
  return { frequencies: Float32Array.from([...once, ...once]), axes: Int32Array.from({ length: 2 * half }, (_, k) => (k < half ? 0 : 1)) };
}

/** Angles of `rows` positions given axis-major: axis a of row r stands at a · rows + r. */
export function ropeAngles(table: RopeTable, positions: ArrayLike<number>, rows: number): Angles {
  const width = table.frequencies.length;
  const cos = new Float32Array(rows * width);
  const sin = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < width; k++) {
      const angle = Math.fround(positions[table.axes[k]! * rows + r]! * table.frequencies[k]!);
      cos[r * width + k] = Math.cos(angle);
      sin[r * width + k] = Math.sin(angle);
    }
  }
  return { cos, sin };
}
