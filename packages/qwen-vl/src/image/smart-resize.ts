import { QwenVlError } from "../errors.ts";
import { badOption, checkInteger, checkWord } from "../options.ts";

/** Options of {@link smartResize}. */
export interface SmartResizeOptions {
  /** Sides become multiples of this many pixels. Default 28. */
  factor?: number;
  /** Smallest area, pixels. */
  minPixels: number;
  /** Largest area, pixels; Infinity for none. */
  maxPixels: number;
  /** `qvu` (qwen-vl-utils, default) keeps the first rounding above 0, `hf` (transformers) the last one. */
  rule?: "qvu" | "hf";
}

/** To the nearest integer, halves to the even one. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/**
 * Size of an image for the model: multiples of the factor, area within bounds, aspect kept as well as that allows.
 *
 * @throws QwenVlError `BAD_OPTION` for bounds that are no numbers, `IMAGE_SIZE` when a side is over 200 times the other, the bounds cross, or a side would become 0.
 */
export function smartResize(height: number, width: number, options: SmartResizeOptions): [height: number, width: number] {
  const { factor = 28, minPixels, maxPixels, rule = "qvu" } = options;
  checkInteger("factor", factor, 1);
  checkWord("rule", rule, ["qvu", "hf"]);
  for (const [name, bound] of [["minPixels", minPixels], ["maxPixels", maxPixels]] as const) if (!(bound >= 0)) badOption(name, bound, "a number of pixels");
  const refuse = (why: string): never => {
    throw new QwenVlError(`an image of ${height} x ${width} pixels: ${why}`, { code: "IMAGE_SIZE", hint: "Crop the image or change the pixel bounds." });
  };
  if (!(height > 0 && width > 0 && Number.isFinite(height * width))) refuse("a side is not a positive number");
  if (Math.max(height, width) / Math.min(height, width) > 200) refuse("one side is more than 200 times the other");
  if (minPixels > maxPixels) refuse(`minPixels ${minPixels} exceeds maxPixels ${maxPixels}`);
  const least = rule === "qvu" ? factor : 0;
  let h = Math.max(least, roundHalfEven(height / factor) * factor);
  let w = Math.max(least, roundHalfEven(width / factor) * factor);
  if (h * w > maxPixels) {
    const scale = Math.sqrt((height * width) / maxPixels);
    const floor = rule === "hf" ? factor : 0;
    h = Math.max(floor, Math.floor(height / scale / factor) * factor);
    w = Math.max(floor, Math.floor(width / scale / factor) * factor);
  } else if (h * w < minPixels) {
    const scale = Math.sqrt(minPixels / (height * width));
    h = Math.ceil((height * scale) / factor) * factor;
    w = Math.ceil((width * scale) / factor) * factor;
  }
  if (h === 0 || w === 0) refuse(`it would become ${h} x ${w}`);
  return [h, w];
}
