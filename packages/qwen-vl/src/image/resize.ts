import { QwenVlError } from "../errors.ts";

/** Keys' cubic with a = −0.5. */
function cubic(x: number): number {
  const a = -0.5;
  const d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return (((d - 5) * d + 8) * d - 4) * a;
  return 0;
}

interface Window {
  first: number;
  weights: Float64Array;
}

/** Source window of each output place; the kernel widens when the image shrinks. */
function windows(input: number, output: number): Window[] {
  const scale = input / output;
  const spread = Math.max(1, scale);
  const support = 2 * spread;
  return Array.from({ length: output }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(input, Math.trunc(centre + support + 0.5));
    const weights = Float64Array.from({ length: end - first }, (__, k) => cubic((first + k - centre + 0.5) / spread));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

const toByte = (x: number): number => Math.min(255, Math.max(0, Math.floor(x + 0.5)));

/**
 * Bicubic resize with antialiasing, as Pillow does it: horizontal pass, rounding, vertical pass, rounding.
 *
 * @param source Planar bytes [channels, height, width].
 * @returns      Planar bytes [channels, outHeight, outWidth].
 * @throws QwenVlError when the bytes do not fit the size.
 */
export function resizeBicubic(source: Uint8Array, channels: number, height: number, width: number, outHeight: number, outWidth: number): Uint8Array {
  if (![channels, height, width, outHeight, outWidth].every((size) => Number.isSafeInteger(size) && size > 0)) {
    throw new QwenVlError(`${channels} channels of ${height} x ${width} cannot become ${outHeight} x ${outWidth} pixels`, { code: "IMAGE_SIZE", hint: "Give positive integers." });
  }
  if (source.length !== channels * height * width) {
    throw new QwenVlError(`${channels} channels of ${height} x ${width} pixels need ${channels * height * width} bytes, ${source.length} were given`, { code: "FRAME_BYTES", hint: "Give planar bytes, channel after channel." });
  }
  const across = windows(width, outWidth);
  const down = windows(height, outHeight);
  const narrow = new Uint8Array(channels * height * outWidth);
  for (let row = 0; row < channels * height; row++) {
    for (let x = 0; x < outWidth; x++) {
      const { first, weights } = across[x]!;
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k]! * source[row * width + first + k]!;
      narrow[row * outWidth + x] = toByte(sum);
    }
  }
  const out = new Uint8Array(channels * outHeight * outWidth);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < outHeight; y++) {
      const { first, weights } = down[y]!;
      for (let x = 0; x < outWidth; x++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k]! * narrow[(c * height + first + k) * outWidth + x]!;
        out[(c * outHeight + y) * outWidth + x] = toByte(sum);
      }
    }
  }
  return out;
}
