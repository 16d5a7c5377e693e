import { QwenVlError } from "./errors.ts";
import { normalisationTable } from "./image/normalise.ts";
import type { VisionConfig } from "./config-types.ts";

/**
 * Reads a checkpoint's preprocessor_config.json as the value of each byte by channel; without one, or where it names no mean and spread, those
 * of the published checkpoints.
 *
 * @throws QwenVlError `CONFIG_FIELD` naming a field that is unusable, asks for another preparation, or does not fit config.json.
 */
export function parsePreprocessor(json: unknown, vision: VisionConfig): Float32Array {
  if (json === undefined) return normalisationTable();
  const refuse = (what: string): never => {
    throw new QwenVlError(`preprocessor_config.json: ${what}`, { code: "CONFIG_FIELD", hint: "Use the preprocessor_config.json that came with the checkpoint." });
  };
  if (typeof json !== "object" || json === null || Array.isArray(json)) return refuse("it must hold a JSON object");
  const fields = new Map(Object.entries(json as Record<string, unknown>).filter(([, value]) => value !== null));
  for (const [field, size] of [["patch_size", vision.patchSize], ["temporal_patch_size", vision.temporalPatchSize], ["merge_size", vision.spatialMergeSize]] as const) {
    if (fields.has(field) && fields.get(field) !== size) refuse(`${field} is ${JSON.stringify(fields.get(field))}, config.json says ${size}`);
  }
  for (const step of ["do_rescale", "do_normalize"]) if (fields.has(step) && fields.get(step) !== true) refuse(`${step} is ${JSON.stringify(fields.get(step))}, which is not served`);
  const factor = fields.get("rescale_factor") ?? 1 / 255;
  if (!(typeof factor === "number" && Math.abs(factor * 255 - 1) < 1e-6)) refuse(`rescale_factor is ${JSON.stringify(factor)}, only 1/255 is served`);
  const channels = (field: string, isUsable: (value: number) => boolean, need: string): number[] | undefined => {
    const value = fields.get(field);
    if (value === undefined) return undefined;
    const isList = Array.isArray(value) && value.length === vision.inChannels && value.every((entry) => Number.isFinite(entry) && isUsable(entry as number));
    return isList ? (value as number[]) : refuse(`${field} is ${JSON.stringify(value)}, expected ${vision.inChannels} numbers${need}`);
  };
  return normalisationTable(channels("image_mean", () => true, ""), channels("image_std", (value) => value > 0, " above 0"));
}
