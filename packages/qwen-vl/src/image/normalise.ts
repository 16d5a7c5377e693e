import { QwenVlError } from "../errors.ts";

/** Mean and spread of the pixels the checkpoints were trained on. */
const DEFAULT_MEAN: readonly number[] = [0.48145466, 0.4578275, 0.40821073];
/** See {@link DEFAULT_MEAN}. */
const DEFAULT_STD: readonly number[] = [0.26862954, 0.26130258, 0.27577711];

/**
 * Normalised value of each byte by channel, float32 [channels·256]: (x − 255·mean) / (255·std).
 *
 * @throws QwenVlError `BAD_OPTION` when there is not one finite mean and one positive spread for each channel.
 */
export function normalisationTable(mean: readonly number[] = DEFAULT_MEAN, std: readonly number[] = DEFAULT_STD): Float32Array {
  if (mean.length !== std.length || !mean.every(Number.isFinite) || !std.every((spread) => spread > 0 && Number.isFinite(spread))) {
    throw new QwenVlError(`pixels cannot be normalised by the means [${mean.join(", ")}] and spreads [${std.join(", ")}]`, { code: "BAD_OPTION", hint: "Give one finite mean and one spread above 0 for each channel." });
  }
  const table = new Float32Array(mean.length * 256);
  for (let channel = 0; channel < mean.length; channel++) {
    const offset = Math.fround(Math.fround(mean[channel]!) * 255);
    const scale = Math.fround(Math.fround(std[channel]!) * 255);
    for (let x = 0; x < 256; x++) table[channel * 256 + x] = Math.fround(Math.fround(x - offset) / scale);
  }
  return table;
}
