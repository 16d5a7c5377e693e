import { sha256 } from "@dramascope/schema";
import { PromptError } from "./errors.ts";

/** JSON with a space after each colon and comma, non-ASCII characters as they are. */
function spacedJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spacedJson).join(", ")}]`;
  if (typeof value === "object" && value !== null) return `{${Object.entries(value).map(([key, entry]) => `${JSON.stringify(key)}: ${spacedJson(entry)}`).join(", ")}}`;
  return JSON.stringify(value);
}

function toJson(value: unknown): string {
  try {
    return spacedJson(JSON.parse(JSON.stringify(value)));
  } catch (error) {
    throw new PromptError("a value for a data block cannot be written as JSON", { code: "PROMPT_VARIABLE", cause: error, hint: "Give text, numbers, lists or plain objects." });
  }
}

/**
 * Text from outside as data: one JSON value between two equal boundary lines. The boundary is made from the value's own hash, so no
 * value can hold it.
 *
 * @throws PromptError `PROMPT_VARIABLE` for a value that JSON cannot hold.
 */
export function dataBlock(value: unknown): string {
  const json = toJson(value);
  const boundary = `data-${sha256(json).slice(0, 16)}`;
  return `${boundary}\n${json}\n${boundary}`;
}
