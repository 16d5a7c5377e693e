import { readFile } from "node:fs/promises";
import { readJsonl } from "@dramascope/schema";
import { z } from "zod";
import { EvaluationError } from "./errors.ts";

const truthRecord = z.looseObject({ dramaId: z.string().min(1), quality: z.int().min(1).max(5).nullable().optional() });
const predictionRecord = z.looseObject({ dramaId: z.string().min(1), quality: z.int().min(1).max(5).nullable().optional(), score: z.number().min(1).max(5).nullable().optional() });

/** Names of a JSON object in the order of the text, repeated ones included: JSON.parse keeps the last and says nothing. */
function repeatedKey(text: string): string | undefined {
  const seen = new Set<string>();
  for (const match of text.matchAll(/"((?:[^"\\]|\\.)*)"\s*:/gu)) {
    if (seen.has(match[1]!)) return match[1];
    seen.add(match[1]!);
  }
  return undefined;
}

async function readMap(path: string): Promise<Map<string, unknown>> {
  const text = await readFile(path, "utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new EvaluationError(`${path} is not JSON: ${(error as Error).message}`, { code: "FILE_INVALID", cause: error, hint: "Give a JSON object of ids, or JSONL." });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new EvaluationError(`${path} must hold a JSON object of ids`, { code: "FILE_INVALID", hint: 'For example {"7300000000000000001": 4}.' });
  const repeated = repeatedKey(text);
  if (repeated !== undefined) throw new EvaluationError(`${path} holds the id ${repeated} twice`, { code: "DUPLICATE_ID", hint: "Keep one entry of each id." });
  return new Map(Object.entries(value));
}

const isJsonl = (path: string): boolean => /\.(?:jsonl|ndjson)(?:\.gz)?$/u.test(path);

function put<T>(map: Map<string, T>, path: string, id: string, value: T): void {
  if (map.has(id)) throw new EvaluationError(`${path} holds the id ${id} twice`, { code: "DUPLICATE_ID", hint: "Keep one entry of each id." });
  map.set(id, value);
}

/** True classes by id: a JSON object of ids, or JSONL with `dramaId` and `quality` (records without a class are left out). */
export async function readTruth(path: string): Promise<Map<string, number>> {
  const truth = new Map<string, number>();
  if (isJsonl(path)) {
    for await (const { dramaId, quality } of readJsonl(path, truthRecord)) if (quality !== null && quality !== undefined) put(truth, path, dramaId, quality);
    return truth;
  }
  for (const [id, value] of await readMap(path)) {
    if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > 5) throw new EvaluationError(`${path}: the class of ${id} is ${JSON.stringify(value)}`, { code: "GOLD_INVALID", hint: "True classes are the integers 1 to 5." });
    truth.set(id, value);
  }
  return truth;
}

/** Predictions by id: a JSON object of ids with numbers or null, or JSONL of assessments (`score`, else `quality`). */
export async function readPredictions(path: string): Promise<Map<string, number | null>> {
  const predictions = new Map<string, number | null>();
  if (isJsonl(path)) {
    for await (const { dramaId, score, quality } of readJsonl(path, predictionRecord)) put(predictions, path, dramaId, score ?? quality ?? null);
    return predictions;
  }
  for (const [id, value] of await readMap(path)) {
    const isScore = typeof value === "number" && value >= 1 && value <= 5;
    if (!isScore && value !== null) throw new EvaluationError(`${path}: the prediction of ${id} is ${JSON.stringify(value)}`, { code: "PREDICTION_INVALID", hint: "Give a number from 1 to 5, or null." });
    predictions.set(id, value);
  }
  return predictions;
}
