import { inspect } from "node:util";
import { QwenVlError } from "./errors.ts";
import type { LoadOptions } from "./model-types.ts";

/** Refuses an option with its name, its value and what is allowed. */
export function badOption(name: string, value: unknown, allowed: string): never {
  throw new QwenVlError(`${name} must be ${allowed}, got ${inspect(value, { depth: 0, maxStringLength: 100, breakLength: Infinity })}`, { code: "BAD_OPTION" });
}

/** Refuses an option that is given and is none of these words. */
export function checkWord(name: string, value: unknown, words: readonly string[]): void {
  if (value !== undefined && !words.some((word) => word === value)) badOption(name, value, words.map((word) => JSON.stringify(word)).join(" or "));
}

/** Refuses an option that is given and is no integer from `least` on. */
export function checkInteger(name: string, value: unknown, least: number): void {
  if (value !== undefined && !(Number.isSafeInteger(value) && (value as number) >= least)) badOption(name, value, `an integer of at least ${least}`);
}

function checkFlag(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean") badOption(name, value, "true or false");
}

/** How matrices may be kept, and how those in bfloat16 may be multiplied. */
export const MATRIX_WORDS: readonly string[] = ["float32", "bfloat16"];

/** Refuses options of loading that would be taken for something else, or never end. */
export function checkLoadOptions({ tf, dtype, products, mrope, queryChunk, logitsChunk, vocabChunk, keepBytes, strict, planTokens, memoryLimitBytes, ignoreMemoryPlan, weightCache, onProgress }: LoadOptions): void {
  if (typeof (tf as Partial<LoadOptions["tf"]> | undefined)?.getBackend !== "function") badOption("tf", tf, "the TensorFlow.js that loadTensorFlow() gives");
  checkWord("dtype", dtype, MATRIX_WORDS);
  checkWord("products", products, MATRIX_WORDS);
  checkWord("mrope", mrope, ["qwen", "hf5"]);
  checkInteger("queryChunk", queryChunk, 1);
  checkInteger("logitsChunk", logitsChunk, 1);
  checkInteger("vocabChunk", vocabChunk, 1);
  if (keepBytes !== undefined && !(keepBytes >= 0)) badOption("keepBytes", keepBytes, "a number of bytes, 0 or more");
  checkFlag("strict", strict);
  checkInteger("planTokens", planTokens, 1);
  if (memoryLimitBytes !== undefined && !(memoryLimitBytes > 0)) badOption("memoryLimitBytes", memoryLimitBytes, "a number of bytes above 0");
  checkFlag("ignoreMemoryPlan", ignoreMemoryPlan);
  if (weightCache !== undefined && (typeof weightCache as unknown) !== "string") badOption("weightCache", weightCache, "the name of a folder");
  if (onProgress !== undefined && (typeof onProgress as unknown) !== "function") badOption("onProgress", onProgress, "a function");
}
