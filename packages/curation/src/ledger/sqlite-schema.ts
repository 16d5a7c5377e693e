import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { CurationError } from "../errors.ts";

/** Version of the tables below. */
const VERSION = 1;

/** How long another connection may hold the file, in milliseconds. */
const BUSY_MS = 5000;

/** Pages of the write-ahead log, 4 KiB each, before they move to the file. */
const CHECKPOINT_PAGES = 4000;

/** Memory for pages of the file, in KiB: reading in order of a hash and planning by keys that are hashes go all over the file. */
const CACHE_KIB = 32 * 1024;

// Texts lie in a table of their own, so that looking for work does not read them, and as bytes of UTF-8, which come out in half the time. Partial indices hold what waits and what is out, and stay small.
const TABLES = `
  CREATE TABLE generations (generation INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, settings TEXT NOT NULL, started_at TEXT NOT NULL) STRICT;
  CREATE TABLE dramas (no INTEGER PRIMARY KEY, drama_id TEXT NOT NULL UNIQUE, ord TEXT NOT NULL, content_hash TEXT NOT NULL, quality INTEGER NOT NULL, split TEXT NOT NULL, group_id TEXT NOT NULL, drama BLOB NOT NULL) STRICT;
  CREATE UNIQUE INDEX dramas_by_order ON dramas (ord, no);
  CREATE TABLE steps (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL, kind TEXT NOT NULL, drama INTEGER NOT NULL REFERENCES dramas (no) ON DELETE CASCADE,
    round INTEGER NOT NULL, part INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'planned', code TEXT, finish TEXT, model TEXT, attempts INTEGER NOT NULL DEFAULT 0, cost REAL NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0, owner TEXT, lease_until REAL, parked_until REAL, pause REAL, due REAL) STRICT;
  CREATE INDEX steps_by_drama ON steps (drama, generation);
  CREATE INDEX steps_planned ON steps (generation, kind, drama, id) WHERE state = 'planned';
  CREATE INDEX steps_leased ON steps (lease_until) WHERE state = 'leased';
  CREATE INDEX steps_parked ON steps (due) WHERE state = 'parked';
  CREATE TABLE contents (step INTEGER PRIMARY KEY REFERENCES steps (id) ON DELETE CASCADE, text BLOB NOT NULL) STRICT;
  CREATE TABLE sessions (session INTEGER PRIMARY KEY) STRICT;
  CREATE TABLE attempts (id INTEGER PRIMARY KEY, session INTEGER NOT NULL, key TEXT NOT NULL, drama INTEGER, task TEXT NOT NULL, attempt INTEGER NOT NULL, estimate REAL NOT NULL, started_at REAL NOT NULL, ended_at REAL,
    cost REAL, is_unknown INTEGER, outcome TEXT, code TEXT, prompt_tokens INTEGER, completion_tokens INTEGER, cached_tokens INTEGER, usage_source TEXT) STRICT;
  CREATE INDEX attempts_by_drama ON attempts (drama);
  CREATE TABLE gates (generation INTEGER NOT NULL, quality INTEGER NOT NULL, round INTEGER NOT NULL, is_open INTEGER NOT NULL, cost REAL NOT NULL, new_dramas INTEGER NOT NULL, PRIMARY KEY (generation, quality, round)) STRICT;`;

/** An error of SQLite, told apart from those of callers. */
export const isSqliteError = (error: unknown): error is Error & { errcode: number } => (error as { code?: unknown }).code === "ERR_SQLITE_ERROR";

/** Wraps what SQLite says; other errors stay what they are. */
export function ledgerErrorOf(path: string, error: unknown): unknown {
  if (!isSqliteError(error)) return error;
  return new CurationError(`${path}: the ledger could not be read or written (${error.message})`, {
    code: "LEDGER_IO",
    cause: error,
    hint: "Check the disk's space and the file, then run again: what was committed is kept.",
  });
}

function checkTables(database: DatabaseSync, path: string): "empty" | "ready" {
  const { user_version: version } = database.prepare("PRAGMA user_version").get() as { user_version: number };
  if (version === VERSION) return "ready";
  if (version === 0 && database.prepare("SELECT 1 FROM sqlite_schema").get() === undefined) return "empty";
  throw new CurationError(`${path}: its tables have version ${version}, this program knows version ${VERSION}`, {
    code: "LEDGER_VERSION",
    hint: version > VERSION ? "Use the newer program that wrote it." : "It is no ledger, or one of an early version: name another file.",
  });
}

/** Opens the file for its one writer and makes the tables in an empty one. */
export function openForWriting(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: BUSY_MS });
    const state = checkTables(database, path);
    // What is deleted is overwritten: texts of strangers do not stay in free pages.
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}; PRAGMA cache_size = -${CACHE_KIB}`);
    if (state === "empty") database.exec(`BEGIN IMMEDIATE; ${TABLES} PRAGMA user_version = ${VERSION}; COMMIT`);
    return database;
  } catch (error) {
    database?.close();
    throw ledgerErrorOf(path, error);
  }
}

/** Opens the file for reading, also while another process writes. */
export function openForReading(path: string): DatabaseSync {
  if (!existsSync(path)) throw new CurationError(`${path}: there is no ledger`, { code: "LEDGER_MISSING", hint: "Start a run, or name the ledger of one." });
  let database: DatabaseSync | undefined;
  try {
    try {
      // Opened for writing but used for reading, since a connection for reading alone leaves its shared memory file behind.
      database = new DatabaseSync(path, { timeout: BUSY_MS });
      database.exec(`PRAGMA query_only = ON; PRAGMA cache_size = -${CACHE_KIB}`);
      database.prepare("SELECT 1 FROM sqlite_schema").get();
    } catch (error) {
      database?.close();
      if (!isSqliteError(error)) throw error;
      database = new DatabaseSync(path, { timeout: BUSY_MS, readOnly: true });
    }
    if (checkTables(database, path) === "empty") throw new CurationError(`${path}: the ledger is empty`, { code: "LEDGER_MISSING", hint: "Start a run, or name the ledger of one." });
    return database;
  } catch (error) {
    if (database?.isOpen) database.close();
    throw ledgerErrorOf(path, error);
  }
}
