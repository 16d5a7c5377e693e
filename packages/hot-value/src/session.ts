import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection, DuckDBDataChunk } from "@duckdb/node-api";

/** Means of the database that works through files. */
export interface SessionOptions {
  /** Threads of the database. Default as many as the machine has. */
  threads?: number;
  /** Memory of the database in MiB; what does not fit goes to temporary files. Default 600. */
  memoryLimitMiB?: number;
  /** Folder of temporary files. Default that of the system. */
  temporaryFolder?: string;
  /** Interrupts a running query. Default none. */
  signal?: AbortSignal | undefined;
}

/** A database of its own, gone with its files at the end. */
export interface Session {
  connection: DuckDBConnection;
  /** Runs a statement. */
  run(sql: string): Promise<void>;
  /** All rows of a short result. */
  rows(sql: string): Promise<unknown[][]>;
  /** Result in chunks of some thousand rows, as they come. */
  chunks(sql: string): AsyncGenerator<DuckDBDataChunk>;
  /** Called when the session ends. */
  onClose(end: () => void): void;
  /** Ends the database and removes its files. */
  close(): Promise<void>;
}

/** Text as an SQL literal. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** Name as an SQL identifier. */
export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** Opens a database in a temporary folder of its own. */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { threads = availableParallelism(), memoryLimitMiB = 600, temporaryFolder = tmpdir(), signal } = options;
  signal?.throwIfAborted();
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const folder = await mkdtemp(join(temporaryFolder, "dramascope-hot-value-"));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  const instance = await DuckDBInstance.create(":memory:", {
    threads: String(threads),
    memory_limit: `${memoryLimitMiB}MiB`,
    temp_directory: join(folder, "spill"),
    autoinstall_known_extensions: "false",
    autoload_known_extensions: "false",
  }).catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  const connection = await instance.connect();
  const interrupt = (): void => connection.interrupt();
  signal?.addEventListener("abort", interrupt);
  const ends: (() => void)[] = [];
  return {
    connection,
    run: async (sql) => {
      await connection.run(sql);
    },
    rows: async (sql) => (await connection.run(sql)).getRows(),
    async *chunks(sql) {
      const result = await connection.stream(sql);
      for (;;) {
        signal?.throwIfAborted();
        const chunk = await result.fetchChunk();
        if (!chunk || chunk.rowCount === 0) return;
        yield chunk;
      }
    },
    onClose: (end) => ends.push(end),
    async close() {
      signal?.removeEventListener("abort", interrupt);
      for (const end of ends) end();
      connection.closeSync();
      instance.closeSync();
      await remove();
    },
  };
}

/** Opens a database, hands it over, and closes it. */
export async function withSession<T>(options: SessionOptions, work: (session: Session) => Promise<T>): Promise<T> {
  const session = await openSession(options);
  try {
    return await work(session);
  } catch (error) {
    options.signal?.throwIfAborted(); // an interrupted query fails with an error of its own
    throw error;
  } finally {
    await session.close();
  }
}
