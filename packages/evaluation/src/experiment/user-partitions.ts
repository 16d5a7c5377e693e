import { mkdtemp, open, rm, type FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EvaluationError } from "../errors.ts";
import { MAX_ID_LENGTH } from "./rows.ts";
import { createRecordReader, encodeId, recordBuffer, recordSize, resizeBuffer, writeRecord, type EncodedId, type RecordBuffer, type UserFaults } from "./user-records.ts";

const PARTITION_BITS = 8;
/** Bytes of one partition's buffer before it goes to the disk: 32 MiB for all. */
const BUFFER_BYTES = 128 * 1024;
const FIRST_BUFFER_BYTES = 4096;

/** Options of {@link createUserPartitions}. */
export interface UserPartitionsOptions {
  variants: number;
  columns: number;
  /** Folder for the spill file. Default the system's. */
  temporaryFolder?: string | undefined;
}

/** Rows by a hash of the user. See {@link createUserPartitions}. */
export interface UserPartitions {
  /** Adds a row. A promise means that a buffer is being written; wait for it before the next row. */
  add: (userId: string, variant: number, values: Float64Array) => Promise<void> | undefined;
  /**
   * After the last row: per variant and column one value a user, a partition at a time, valid until the next is asked for. Users in two
   * variants are left out; `faults` receives what was found.
   */
  blocks: (faults: UserFaults) => AsyncGenerator<Float64Array[][]>;
  /** Gives memory and spill file back. */
  close: () => Promise<void>;
}

interface Partition {
  buffer: RecordBuffer;
  /** What is on the disk. */
  extents: { position: number; length: number }[];
}

/**
 * Splits rows by a hash of the user's id, so that users in two variants are found exactly (ids are compared, not hashes) and in little
 * memory: 32 MiB of buffers, beyond which records go to a file; then one partition at a time, 1/256 of the data. The file loses its
 * name as soon as it is open, so that it vanishes with the process (on systems without that, `close` removes it).
 */
export function createUserPartitions({ variants, columns, temporaryFolder }: UserPartitionsOptions): UserPartitions {
  const partitions = Array.from({ length: 1 << PARTITION_BITS }, (): Partition => ({ buffer: recordBuffer(), extents: [] }));
  let spill: FileHandle | undefined;
  let folder: string | undefined;
  let end = 0;

  const openSpill = async (): Promise<FileHandle> => {
    folder = await mkdtemp(join(temporaryFolder ?? tmpdir(), "dramascope-experiment-"));
    const handle = await open(join(folder, "rows"), "wx+", 0o600);
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
    return handle;
  };

  const flush = async ({ buffer, extents }: Partition): Promise<void> => {
    const length = buffer.used;
    try {
      spill ??= await openSpill();
      for (let written = 0; written < length; ) written += (await spill.write(buffer.bytes, written, length - written, end + written)).bytesWritten;
    } catch (error) {
      throw new EvaluationError(`rows beyond 32 MiB cannot be kept in a temporary file: ${(error as Error).message}`, {
        code: "TEMPORARY_FILE",
        cause: error,
        hint: "Free space there, or choose another folder with temporaryFolder or the environment's TMPDIR.",
      });
    }
    extents.push({ position: end, length });
    end += length;
    buffer.used = 0;
  };

  const id: EncodedId = { bytes: new Uint8Array(2 * MAX_ID_LENGTH), length: 0, isWide: false, hash: 0 };
  const add = (userId: string, variant: number, values: Float64Array): Promise<void> | undefined => {
    encodeId(userId, id);
    const size = recordSize(id.length, columns);
    const partition = partitions[id.hash >>> (32 - PARTITION_BITS)]!;
    if (partition.buffer.used > 0 && partition.buffer.used + size > BUFFER_BYTES) return flush(partition).then(() => append(partition, size, variant, values));
    append(partition, size, variant, values);
    return undefined;
  };
  const append = ({ buffer }: Partition, size: number, variant: number, values: Float64Array): void => {
    const needed = buffer.used + size;
    if (needed > buffer.bytes.length) resizeBuffer(buffer, Math.max(needed, Math.min(BUFFER_BYTES, Math.max(FIRST_BUFFER_BYTES, 2 * buffer.bytes.length))));
    writeRecord(buffer, id, variant, values);
  };

  async function* blocks(faults: UserFaults): AsyncGenerator<Float64Array[][]> {
    const reader = createRecordReader(variants, columns);
    let scratch: Buffer = Buffer.alloc(0);
    for (const { buffer, extents } of partitions) {
      const length = extents.reduce((sum, extent) => sum + extent.length, buffer.used);
      if (length === 0) continue;
      if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(Math.ceil(length * 1.1));
      let at = 0;
      for (const { position, length: size } of extents) {
        for (const stop = at + size, from = position - at; at < stop; ) {
          const { bytesRead } = await spill!.read(scratch, at, stop - at, from + at);
          if (bytesRead === 0) throw new EvaluationError("the temporary file of rows has been cut short", { code: "TEMPORARY_FILE", hint: "Let nothing else write to the folder of temporary files." });
          at += bytesRead;
        }
      }
      scratch.set(buffer.bytes.subarray(0, buffer.used), at);
      resizeBuffer(buffer, 0);
      yield reader.read(scratch, length, faults);
    }
  }

  const close = async (): Promise<void> => {
    for (const { buffer } of partitions) resizeBuffer(buffer, 0);
    await spill?.close();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  };
  return { add, blocks, close };
}
