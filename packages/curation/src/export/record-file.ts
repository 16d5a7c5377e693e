import { createHash } from "node:crypto";
import { open } from "node:fs/promises";

/** A file of records that is being written, one JSON value a line. */
export interface RecordFile {
  write(record: unknown): Promise<void>;
  /** Ends the file; its number of records and the SHA-256 of its bytes. */
  close(): Promise<{ count: number; sha256: string }>;
  /** Lets go of the file where writing has failed. */
  abandon(): Promise<void>;
}

const BLOCK_CHARS = 1 << 18;

/** Opens a new file for records; they are held back in blocks, so that memory does not grow with their number. */
export async function createRecordFile(path: string): Promise<RecordFile> {
  const handle = await open(path, "wx");
  const hash = createHash("sha256");
  let [count, length] = [0, 0];
  let lines: string[] = [];
  const flush = async (): Promise<void> => {
    const bytes = Buffer.from(lines.join(""), "utf8");
    [lines, length] = [[], 0];
    hash.update(bytes);
    await handle.appendFile(bytes);
  };
  return {
    write: async (record) => {
      const line = `${JSON.stringify(record)}\n`;
      lines.push(line);
      count++;
      length += line.length;
      if (length >= BLOCK_CHARS) await flush();
    },
    close: async () => {
      await flush();
      await handle.close();
      return { count, sha256: hash.digest("hex") };
    },
    abandon: () => handle.close().catch(() => undefined),
  };
}
