import { StringDecoder } from "node:string_decoder";
import type { z } from "zod";
import { DataError } from "./errors.ts";
import { openBytes, writeTextAtomically } from "./files.ts";
import { describeIssues } from "./validation.ts";

/** Longest accepted line of a JSONL file, in UTF-16 units (64 Mi). */
const MAX_LINE_LENGTH = 64 * 1024 * 1024;

/** One line of a text file with its 1-based number. */
export interface NumberedLine {
  /** 1-based. */
  line: number;
  /** Without its line end. */
  text: string;
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
}

/**
 * Lines of a UTF-8 text file, streamed, without their line ends; `.gz` is unpacked, a byte order mark is dropped.
 *
 * @throws DataError `LINE_TOO_LONG` when a line is longer than 64 Mi characters.
 */
export async function* readLines(path: string): AsyncGenerator<NumberedLine> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  let line = 0;
  const strip = (text: string): string => {
    const unmarked = line === 1 && text.startsWith("\uFEFF") ? text.slice(1) : text;
    return unmarked.endsWith("\r") ? unmarked.slice(0, -1) : unmarked;
  };
  for await (const chunk of openBytes(path)) {
    const pieces = decoder.write(chunk as Buffer).split("\n");
    pieces[0] = rest + pieces[0]!;
    rest = pieces.pop()!;
    if (rest.length > MAX_LINE_LENGTH) {
      throw new DataError(`${path}:${line + pieces.length + 1}: the line is longer than ${MAX_LINE_LENGTH} characters`, {
        code: "LINE_TOO_LONG",
        hint: "Check that the file is JSONL: one record a line.",
      });
    }
    for (const piece of pieces) {
      line++;
      yield { line, text: strip(piece) };
    }
  }
  rest += decoder.end();
  if (rest !== "") {
    line++;
    yield { line, text: strip(rest) };
  }
}

/**
 * Records of a JSONL file, streamed and checked against a schema; `.gz` is unpacked, blank lines are passed over.
 *
 * @throws DataError `BAD_LINE`, with `file:line: what is wrong`, unless `onRejected` takes the bad lines.
 */
export async function* readJsonl<S extends z.ZodType>(path: string, schema: S, options: ReadJsonlOptions = {}): AsyncGenerator<z.output<S>> {
  for await (const { line, text } of readLines(path)) {
    if (text.trim() === "") continue;
    const reject = (reason: string): void => {
      if (!options.onRejected) {
        throw new DataError(`${path}:${line}: ${reason}`, { code: "BAD_LINE", hint: "Mend or remove the line." });
      }
      options.onRejected({ file: path, line, reason });
    };
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      reject(`not JSON (${(error as Error).message})`);
      continue;
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) yield parsed.data;
    else reject(describeIssues(parsed.error));
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
