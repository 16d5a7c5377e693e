import { isUtf8 } from "node:buffer";
import type { z } from "zod";
import { DataError } from "./errors.ts";
import { openBytes, writeTextAtomically } from "./files.ts";
import { describeIssues } from "./validation.ts";

/** Longest accepted line of a file. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;

/** One line of a text file with its 1-based number. */
export interface NumberedLine {
  /** 1-based. */
  line: number;
  /** Without its line end. */
  text: string;
  /** False when the bytes are no UTF-8; the text then holds U+FFFD in their place. */
  isUtf8: boolean;
}

/** A line that was left out, as written to `rejected.jsonl`. */
export interface RejectedLine {
  /** As the caller named it. */
  file: string;
  /** 1-based. */
  line: number;
  /** What is wrong and what to do. */
  reason: string;
}

/** Options of {@link readJsonl}. */
export interface ReadJsonlOptions {
  /** Receives each bad line, which is then left out. Default: the first bad line is an error. */
  onRejected?: (rejected: RejectedLine) => void;
  /** Receives the 1-based line of each record right before the record comes. */
  onRecord?: (line: number) => void;
}

const NEWLINE = 10;

/** Bytes of a file; a failure to read becomes an error that names the file. */
async function* bytesOf(path: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of openBytes(path)) yield chunk as Buffer;
  } catch (error) {
    throw new DataError(`${path} cannot be read: ${(error as Error).message}`, { code: "FILE_UNREADABLE", cause: error, hint: "Check that the file is there, that it may be read and that it is whole." });
  }
}

/** Whole lines of a block of bytes that ends at a line end, decoded at once where all of it is UTF-8. */
function* linesOf(block: Buffer): Generator<Omit<NumberedLine, "line">> {
  if (isUtf8(block)) {
    for (const text of block.toString("utf8").split("\n")) yield { text, isUtf8: true };
    return;
  }
  for (let start = 0; start <= block.length; ) {
    const end = block.indexOf(NEWLINE, start);
    const bytes = block.subarray(start, end < 0 ? undefined : end);
    yield { text: bytes.toString("utf8"), isUtf8: isUtf8(bytes) };
    start = end < 0 ? Infinity : end + 1;
  }
}

/**
 * Lines of a UTF-8 text file, streamed, without their line ends; `.gz` is unpacked, a byte order mark is dropped.
 *
 * @throws DataError `FILE_UNREADABLE` for a file that is missing, unreadable or broken, `LINE_TOO_LONG` when a line is longer than 64 MiB.
 */
export async function* readLines(path: string): AsyncGenerator<NumberedLine> {
  let line = 0;
  let rest: Buffer[] = [];
  let restBytes = 0;
  const numbered = function* (block: Buffer): Generator<NumberedLine> {
    for (const one of linesOf(block)) {
      line++;
      const text = line === 1 && one.text.startsWith("\uFEFF") ? one.text.slice(1) : one.text;
      yield { line, text: text.endsWith("\r") ? text.slice(0, -1) : text, isUtf8: one.isUtf8 };
    }
  };
  for await (const chunk of bytesOf(path)) {
    const end = chunk.lastIndexOf(NEWLINE);
    const tail = chunk.subarray(end + 1);
    if (end >= 0) {
      yield* numbered(Buffer.concat([...rest, chunk.subarray(0, end)]));
      [rest, restBytes] = [[], 0];
    }
    rest.push(tail);
    restBytes += tail.length;
    if (restBytes > MAX_LINE_BYTES) throw new DataError(`${path}:${line + 1}: the line is longer than ${MAX_LINE_BYTES} bytes`, { code: "LINE_TOO_LONG", hint: "Check that the file holds one record a line." });
  }
  if (restBytes > 0) yield* numbered(Buffer.concat(rest));
}

const parseProblem = (text: string): string => {
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};

/** V8 repeats the text around a token that it did not expect, and no position; its other messages name a position and repeat nothing. */
const UNEXPECTED = /^Unexpected token/u;

/** Why a text is no JSON, and where, without a word of it: it may hold what nobody may see. */
function whyNotJson(text: string): string {
  const problem = parseProblem(text);
  if (!UNEXPECTED.test(problem)) return problem;
  // The longest beginning of the text that the token is not part of.
  let [before, after] = [0, text.length];
  while (after - before > 1) {
    const middle = (before + after) >>> 1;
    if (UNEXPECTED.test(parseProblem(text.slice(0, middle)))) after = middle;
    else before = middle;
  }
  return `Unexpected token at position ${before} (column ${before + 1})`;
}

/**
 * Records of a JSONL file, streamed and checked against a schema; `.gz` is unpacked, blank lines are passed over. What is said about
 * a bad line names fields and columns and repeats nothing that stands in it.
 *
 * @throws DataError `BAD_LINE`, with `file:line: what is wrong`, unless `onRejected` takes the bad lines, and those of {@link readLines}.
 */
export async function* readJsonl<S extends z.ZodType>(path: string, schema: S, options: ReadJsonlOptions = {}): AsyncGenerator<z.output<S>> {
  for await (const { line, text, isUtf8: isText } of readLines(path)) {
    if (text.trim() === "") continue;
    const reject = (reason: string): void => {
      if (!options.onRejected) {
        throw new DataError(`${path}:${line}: ${reason}`, { code: "BAD_LINE", hint: "Mend or remove the line." });
      }
      options.onRejected({ file: path, line, reason });
    };
    if (!isText) {
      reject("not UTF-8 text; convert the file");
      continue;
    }
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      reject(`not JSON (${whyNotJson(text)})`);
      continue;
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) {
      options.onRecord?.(line);
      yield parsed.data;
    } else reject(describeIssues(parsed.error, "hidden"));
  }
}

/** Writes records as JSONL, whole or absent; a name that ends in `.gz` is packed. Returns the number of records. */
export async function writeJsonl(path: string, records: Iterable<unknown> | AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  async function* lines(): AsyncGenerator<string> {
    for await (const record of records) {
      count++;
      yield `${JSON.stringify(record)}\n`;
    }
  }
  await writeTextAtomically(path, lines());
  return count;
}
