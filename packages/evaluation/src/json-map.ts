import { EvaluationError } from "./errors.ts";

/** One entry of a JSON object with the line of its key. */
export interface JsonEntry {
  /** The id. */
  key: string;
  /** Unchecked. */
  value: unknown;
  /** 1-based. */
  line: number;
}

/** Position behind the string that starts at a quote. */
function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i + 1;
}

const COLON = /\s*:/uy;

/** Keys of the outermost object of valid JSON, repeated ones included: JSON.parse keeps the last of them and says nothing. */
function* keysOf(text: string): Generator<{ key: string; line: number }> {
  let [depth, line] = [0, 1];
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (character === "\n") line++;
    else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    else if (character === '"') {
      const end = endOfString(text, i);
      COLON.lastIndex = end;
      if (depth === 1 && COLON.test(text)) yield { key: JSON.parse(text.slice(i, end)) as string, line };
      i = end - 1;
    }
  }
}

/**
 * Entries of a JSON object of ids.
 *
 * @throws EvaluationError `FILE_INVALID`; `DUPLICATE_ID`, which names both lines.
 */
export function parseJsonMap(text: string, path: string): JsonEntry[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new EvaluationError(`${path} is not JSON: ${(error as Error).message}`, { code: "FILE_INVALID", cause: error, hint: "Give a JSON object of ids, or JSONL under a name that ends in .jsonl." });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new EvaluationError(`${path} must hold a JSON object of ids`, { code: "FILE_INVALID", hint: 'For example {"7300000000000000001": 4}.' });
  const values = new Map<string, unknown>(Object.entries(value));
  const lines = new Map<string, number>();
  for (const { key, line } of keysOf(text)) {
    checkNew(lines, path, key, line);
    lines.set(key, line);
  }
  return [...lines].map(([key, line]) => ({ key, value: values.get(key), line }));
}

/** Refuses an id that stands in the file already. */
export function checkNew(lines: ReadonlyMap<string, number>, path: string, id: string, line: number): void {
  const first = lines.get(id);
  if (first !== undefined) throw new EvaluationError(`${path} holds the id ${id} twice, in line ${first} and in line ${line}`, { code: "DUPLICATE_ID", hint: "Keep one entry of each id." });
}
