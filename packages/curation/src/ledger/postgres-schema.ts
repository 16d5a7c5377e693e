import { CurationError } from "../errors.ts";
import type { Postgres, Query } from "./postgres-connection.ts";

/** Advisory locks of a ledger, by what they guard. The first number tells them from locks of other programs. */
export const LOCKS = { space: 0x0d7a, migration: 0, generation: 1, leases: 2 } as const;

/** A schema name, checked and quoted for SQL. */
export function quotedSchema(name: string): string {
  if (!/^[a-z_][a-z0-9_]{0,47}$/.test(name)) throw new CurationError(`${JSON.stringify(name)} cannot be a ledger's schema in Postgres`, { code: "LEDGER_SCHEMA", hint: "Take up to 48 lower-case letters, digits and underscores." });
  return `"${name}"`;
}

/**
 * Steps that bring a schema from one version to the next; the version is their number. Never edit one that was released.
 *
 * Texts compare by their bytes ("C"), as in the SQLite ledger, so that both give the same order. `ready_at` is when a step may be leased:
 * always when planned, at the end of the lease when leased, at the end of the pause when parked, never when ended; a client's clock has no say in it.
 */
const MIGRATIONS: readonly ((s: string) => string)[] = [
  (s) => `
    CREATE TABLE ${s}.generations (generation integer PRIMARY KEY, identity text NOT NULL UNIQUE, settings text NOT NULL, started_at timestamptz NOT NULL);
    CREATE TABLE ${s}.dramas (drama_id text COLLATE "C" PRIMARY KEY, ord text COLLATE "C" NOT NULL, content_hash text NOT NULL, quality smallint NOT NULL,
      split text NOT NULL, group_id text NOT NULL, drama text NOT NULL);
    CREATE INDEX dramas_in_order ON ${s}.dramas (ord, drama_id);
    CREATE TABLE ${s}.steps (key text COLLATE "C" PRIMARY KEY, kind text NOT NULL, drama text COLLATE "C" NOT NULL, round integer NOT NULL, part integer NOT NULL,
      generation integer NOT NULL, state text NOT NULL, content text, code text, finish text, model text, attempts integer NOT NULL DEFAULT 0,
      cost double precision NOT NULL DEFAULT 0, fence integer NOT NULL DEFAULT 0, owner text, lease uuid, ready_at timestamptz, parked_until double precision);
    CREATE INDEX steps_of_drama ON ${s}.steps (drama);
    CREATE INDEX steps_ready ON ${s}.steps (generation, ready_at, drama) WHERE ready_at IS NOT NULL;
    CREATE INDEX steps_leased ON ${s}.steps (ready_at) WHERE state = 'leased';
    CREATE TABLE ${s}.attempts (id uuid PRIMARY KEY, key text COLLATE "C" NOT NULL, attempt integer NOT NULL, task text NOT NULL, drama text COLLATE "C" NOT NULL, worker text NOT NULL,
      estimate double precision NOT NULL, started_at double precision NOT NULL, ended_at double precision, cost double precision, outcome text, code text,
      prompt_tokens integer, completion_tokens integer, cached_tokens integer, usage_source text, is_unknown boolean NOT NULL DEFAULT true);
    CREATE INDEX attempts_of_drama ON ${s}.attempts (drama);
    CREATE INDEX attempts_open ON ${s}.attempts (worker) WHERE outcome IS NULL;
    CREATE TABLE ${s}.budget (id boolean PRIMARY KEY DEFAULT true CHECK (id), settled numeric NOT NULL DEFAULT 0, open numeric NOT NULL DEFAULT 0);
    INSERT INTO ${s}.budget DEFAULT VALUES;
    CREATE TABLE ${s}.gates (generation integer NOT NULL, quality smallint NOT NULL, round integer NOT NULL, is_open boolean NOT NULL,
      cost double precision NOT NULL, new_dramas integer NOT NULL, PRIMARY KEY (generation, quality, round));
    CREATE TABLE ${s}.workers (worker text PRIMARY KEY, seen_at timestamptz NOT NULL);
    CREATE TABLE ${s}.provider_budget (resource text PRIMARY KEY, next_request double precision NOT NULL, next_tokens double precision NOT NULL, largest double precision NOT NULL,
      blocked_until double precision NOT NULL, pace double precision NOT NULL, pace_since double precision NOT NULL, heard_until double precision NOT NULL, seen_at double precision NOT NULL)`,
];

/** Version of a schema's ledger; 0 where there is none. */
async function versionOf(query: Query, s: string): Promise<number> {
  const [found] = await query<{ has: boolean }>("SELECT to_regclass($1) IS NOT NULL AS has", [`${s}.schema_version`]);
  if (!found!.has) return 0;
  const [row] = await query<{ version: number }>(`SELECT coalesce(max(version), 0) AS version FROM ${s}.schema_version`);
  return row!.version;
}

const otherVersion = (name: string, version: number): CurationError =>
  new CurationError(`schema ${name}: this ledger has version ${version}, this program knows ${MIGRATIONS.length}`, { code: "LEDGER_VERSION", hint: "Use the Dramascope that made it, or a newer one." });

/**
 * Makes sure that a schema holds a ledger of this version, and writes nothing.
 *
 * @throws CurationError LEDGER_MISSING, LEDGER_VERSION when another Dramascope made it.
 */
export async function requireLedger({ query }: Postgres, name: string): Promise<void> {
  const version = await versionOf(query, quotedSchema(name));
  if (version === 0) throw new CurationError(`schema ${name}: there is no ledger`, { code: "LEDGER_MISSING", hint: "Start a run, or name the ledger of one." });
  if (version !== MIGRATIONS.length) throw otherVersion(name, version);
}

/**
 * Brings a schema to this version, one process at a time. Where it has it, no right to create anything is needed.
 *
 * @throws CurationError LEDGER_VERSION when a newer Dramascope made it.
 */
export async function migrate(postgres: Postgres, name: string): Promise<void> {
  const s = quotedSchema(name);
  if ((await versionOf(postgres.query, s)) === MIGRATIONS.length) return;
  await postgres.transaction(async ({ query }) => {
    await query("SELECT pg_advisory_xact_lock($1, $2)", [LOCKS.space, LOCKS.migration]);
    const [schema] = await query<{ has: boolean }>("SELECT to_regnamespace($1) IS NOT NULL AS has", [s]);
    // With IF NOT EXISTS too, this takes the right to create schemas.
    if (!schema!.has) await query(`CREATE SCHEMA ${s}`);
    await query(`CREATE TABLE IF NOT EXISTS ${s}.schema_version (version integer PRIMARY KEY, migrated_at timestamptz NOT NULL DEFAULT clock_timestamp())`);
    const version = await versionOf(query, s);
    if (version > MIGRATIONS.length) throw otherVersion(name, version);
    for (let next = version; next < MIGRATIONS.length; next++) {
      await query(MIGRATIONS[next]!(s));
      await query(`INSERT INTO ${s}.schema_version (version) VALUES ($1)`, [next + 1]);
    }
  });
}
