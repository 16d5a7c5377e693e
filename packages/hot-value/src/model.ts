import { hashJson, parseRecord } from "@dramascope/schema";
import { z } from "zod";
import { HotValueError } from "./errors.ts";
import { INDICATORS, SCORE_NAMES, validateWeights } from "./indicators.ts";

const finite = z.number();
const thresholds = z
  .strictObject({ n: z.int().min(1), min: finite, p30: finite, p93: finite, rank10: finite, max: finite })
  .refine(({ min, p30, p93, max }) => min <= p30 && p30 <= p93 && p93 <= max, "min, p30, p93 and max must ascend");

/** The frozen result of a fit, as it stands in its file. */
export const hotValueModel = z.strictObject({
  format: z.literal("dramascope.hot-value.model"),
  version: z.literal(1),
  createdBy: z.string(),
  asOf: z.iso.date(),
  weights: z.record(z.enum(SCORE_NAMES), finite),
  options: z.record(z.string(), z.unknown()),
  reference: z.strictObject({ mode: z.enum(["per-date", "pooled"]) }),
  /** By date, or under `*` when pooled. */
  thresholds: z.record(z.string(), z.record(z.enum(INDICATORS), thresholds)),
  clusters: z.strictObject({
    engine: z.enum(["ckmeans", "ml-kmeans"]),
    k: z.literal(5),
    centroids: z.array(finite).length(5),
    breakpoints: z.array(finite).length(4),
    sizes: z.array(z.int().min(1)).length(5),
    sse: finite.min(0),
    sseShare: z.array(finite).length(5),
  }),
  population: z.strictObject({ rows: z.int(), dramas: z.int(), eligible: z.int(), idsHash: z.string() }),
  modelHash: z.string(),
});
/** The frozen result of a fit. */
export type HotValueModel = z.infer<typeof hotValueModel>;

/** Hash of everything in a model but its own hash and its maker. */
export function modelHashOf({ modelHash: _hash, createdBy: _by, ...body }: HotValueModel): string {
  return `sha256:${hashJson(body)}`;
}

/** A model's file, numbers in shortest form: it scores bit-identically after reading. */
export function serializeModel(model: HotValueModel): string {
  return `${JSON.stringify(model, null, 2)}\n`;
}

/**
 * Reads a model and checks everything in it, its hash included.
 *
 * @throws DataError for a wrong form, HotValueError `MODEL_HASH` when the content is not what was hashed.
 */
export function parseModel(json: unknown): HotValueModel {
  const model = parseRecord(hotValueModel, json, "the hot-value model");
  validateWeights(model.weights);
  if (model.clusters.breakpoints.some((value, i, all) => i > 0 && value < all[i - 1]!)) {
    throw new HotValueError("the model's breakpoints do not ascend", { code: "MODEL_INVALID", hint: "Fit the model again." });
  }
  if (modelHashOf(model) !== model.modelHash) {
    throw new HotValueError("the model's content does not fit its hash: it was edited or damaged", { code: "MODEL_HASH", hint: "Use the file that fit wrote." });
  }
  return model;
}
