import { closeSync, openSync, writeSync } from "node:fs";
import { ChatError } from "./errors.ts";

/** A file that gets a line for each thing that happens. */
export interface Journal {
  /** Appends one whole line. */
  note(record: Record<string, unknown>): void;
  close(): void;
}

const failure = (path: string, cause: unknown): ChatError =>
  new ChatError(`the journal ${path} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`, { code: "JOURNAL_IO", hint: "Make room on its disk or choose another file, then run again.", cause });

/**
 * Opens a JSONL journal for appending.
 *
 * @throws ChatError `JOURNAL_IO` here and from `note`.
 */
export function openJournal(path: string): Journal {
  let file: number;
  try {
    file = openSync(path, "a");
  } catch (error) {
    throw failure(path, error);
  }
  return {
    note: (record) => {
      const line = Buffer.from(`${JSON.stringify(record)}\n`);
      try {
        const written = writeSync(file, line);
        // Half a line is ended, so that the next one is whole.
        if (written < line.length) writeSync(file, "\n");
      } catch (error) {
        throw failure(path, error);
      }
    },
    close: () => closeSync(file),
  };
}
