import { randomUUID } from "node:crypto";
import { CurationError } from "../errors.ts";
import type { Postgres, Query } from "./postgres-connection.ts";
import { chunks, PAGE, pages } from "./postgres-pages.ts";
import { DRAMA_COLUMNS, dramaOf, STEP_COLUMNS, stepColumns, type DramaColumns } from "./postgres-rows.ts";
import { LOCKS } from "./postgres-schema.ts";
import { checkNames, isStorable, storableText } from "./storable-text.ts";
import type { StepLedger } from "./step-ledger.ts";
import { STAGE_KINDS, STEP_STATES, type StageKind, type StepQuery, type StepRow, type StepSpec, type StepState } from "./step-types.ts";

const STEPS_A_STATEMENT = 5_000;
const ROWS_WORTH_COUNTING = 20_000;
const ENDED = "('done', 'failed', 'blocked')";
const OPEN = "('leased', 'planned')"; // a lease that was given back or ran out counts until somebody else takes the step
const NOW = "(SELECT clock_timestamp())"; // once a statement, so that an index can be searched by it

const byDrama = (a: StepRow, b: StepRow): number => (a.drama === b.drama ? Number(a.key > b.key) : a.drama > b.drama ? 1 : -1);

/**
 * What a ledger does with steps, in a schema (quoted).
 *
 * @param announce Called when there may be new work.
 */
export function stepTable(
  { query, transaction }: Postgres,
  s: string,
  announce: () => void,
): Pick<StepLedger, "plan" | "lease" | "heartbeat" | "commit" | "park" | "release" | "retire" | "free" | "stream" | "counts"> {
  const commits = new Map<string, Promise<"ok" | "stale">>();
  let uncounted = 0;

  /** Answers of a drama, in order of key. */
  const endedSteps = (run: Query, drama: string, generation: number): Promise<StepRow[]> =>
    run<StepRow>(`SELECT ${STEP_COLUMNS} FROM ${s}.steps WHERE drama = $1 AND generation = $2 AND state IN ${ENDED} ORDER BY key`, [drama, generation]);

  /** Plans steps within a transaction that may hold a drama already; sorted, so that two planners of the same steps wait for each other instead of locking each other out. */
  const insertSteps = async (run: Query, steps: readonly StepSpec[], generation: number, heldDrama?: string): Promise<number> => {
    const unique = [...new Map(steps.map((step) => [step.key, step])).values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    if (unique.length === 0) return 0;
    for (const { key } of unique) checkNames("the step's key", key);
    const ids = [...new Set(unique.map(({ drama }) => drama))].filter((id) => id !== heldDrama);
    const rowsOfDramas = ids.length === 0 ? [] : await run<{ drama_id: string }>(`SELECT drama_id FROM ${s}.dramas WHERE drama_id = ANY($1) ORDER BY drama_id FOR KEY SHARE`, [ids.filter(isStorable)]);
    const held = new Set([heldDrama, ...rowsOfDramas.map((row) => row.drama_id)]);
    const homeless = unique.find(({ drama }) => !held.has(drama));
    if (homeless) throw new CurationError(`step ${homeless.key}: the ledger does not hold drama ${JSON.stringify(homeless.drama)}`, { code: "LEDGER_DRAMA_UNKNOWN", hint: "Store the drama before its steps." });
    const rows = await run(
      `INSERT INTO ${s}.steps (key, kind, drama, round, part, generation, state, ready_at)
       SELECT key, kind, drama, round, part, $6, 'planned', '-infinity' FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::integer[]) AS given (key, kind, drama, round, part)
       ON CONFLICT (key) DO UPDATE SET generation = excluded.generation WHERE steps.generation <> excluded.generation RETURNING 1`,
      [...stepColumns(unique), generation],
    );
    return rows.length;
  };

  /** The planner of a server that was just given many rows takes them for few, and reads all of them to find some. */
  const takeStock = async (rows: number): Promise<void> => {
    uncounted += rows;
    if (uncounted < ROWS_WORTH_COUNTING) return;
    uncounted = 0;
    await query(`ANALYZE ${s}.dramas, ${s}.steps`);
  };

  return {
    plan: async (steps, generation) => {
      let added = 0;
      for (const chunk of chunks(steps, STEPS_A_STATEMENT)) {
        let counted = 0;
        // A try whose end was not heard of may have planned them: its count is the true one.
        await transaction(async ({ query }) => void (counted = Math.max(counted, await insertSteps(query, chunk, generation))));
        added += counted;
      }
      await takeStock(added);
      if (added > 0) announce();
      return added;
    },

    lease: async ({ owner, max, ttlMs, generation, kinds, maxLeased }) => {
      checkNames("the owner's name", owner);
      if (max <= 0) return [];
      const id = randomUUID();
      const rows = await transaction(async ({ query, mayBeDone }) => {
        const own = mayBeDone ? await query<StepRow>(`SELECT ${STEP_COLUMNS} FROM ${s}.steps WHERE state = 'leased' AND lease = $1`, [id]) : [];
        if (own.length > 0) return own;
        // One at a time where there is a bound for all, else each would find the same room.
        if (maxLeased !== undefined) await query("SELECT pg_advisory_xact_lock($1, $2)", [LOCKS.space, LOCKS.leases]);
        return query<StepRow>(
          `WITH ready AS (SELECT key FROM ${s}.steps WHERE generation = $1 AND ready_at <= ${NOW} AND ($2::text[] IS NULL OR kind = ANY($2))
             ORDER BY ready_at, drama LIMIT CASE WHEN $4::bigint IS NULL THEN $3::bigint ELSE least($3, greatest(0, $4 - (SELECT count(*) FROM ${s}.steps WHERE state = 'leased' AND ready_at > ${NOW}))) END FOR UPDATE SKIP LOCKED)
           UPDATE ${s}.steps SET state = 'leased', fence = fence + 1, owner = $5, lease = $6, ready_at = clock_timestamp() + $7 * interval '1 millisecond', parked_until = NULL, code = NULL
           WHERE key IN (SELECT key FROM ready) RETURNING ${STEP_COLUMNS}`,
          [generation, kinds ?? null, max, maxLeased ?? null, owner, id, ttlMs],
        );
      });
      if (rows.length === 0) return [];
      const ids = [...new Set(rows.map(({ drama }) => drama))];
      const [dramas, answers] = await Promise.all([
        query<DramaColumns>(`SELECT ${DRAMA_COLUMNS} FROM ${s}.dramas WHERE drama_id = ANY($1)`, [ids]),
        query<StepRow>(`SELECT ${STEP_COLUMNS} FROM ${s}.steps WHERE drama = ANY($1) AND generation = $2 AND state IN ${ENDED} ORDER BY drama, key`, [ids, generation]),
      ]);
      const records = new Map(dramas.map((row) => [row.drama_id, dramaOf(row)]));
      // A drama that was deleted in the meantime took its steps along.
      return rows.sort(byDrama).flatMap((step) => {
        const drama = records.get(step.drama);
        return drama ? [{ step, drama, answers: answers.filter((row) => row.drama === step.drama) }] : [];
      });
    },

    heartbeat: async (keys, owner, ttlMs) => {
      const held = await query<{ key: string }>(
        `UPDATE ${s}.steps SET ready_at = clock_timestamp() + $3 * interval '1 millisecond' WHERE key = ANY($1) AND owner = $2 AND state = 'leased' RETURNING key`,
        [keys, owner, ttlMs],
      );
      const kept = new Set(held.map(({ key }) => key));
      return { lost: keys.filter((key) => !kept.has(key)) };
    },

    commit: async ({ key, owner, fence, result, next }) => {
      let planned = 0;
      const end = async (): Promise<"ok" | "stale"> => transaction(async ({ query, mayBeDone }) => {
        planned = 0;
        // Commits of one drama go one after another, so that each sees the answers before it.
        const [found] = await query<{ drama_id: string }>(`SELECT d.drama_id FROM ${s}.dramas d JOIN ${s}.steps t ON t.drama = d.drama_id WHERE t.key = $1 FOR NO KEY UPDATE OF d`, [key]);
        if (!found) return "stale";
        const [step] = await query<{ generation: number }>(
          `UPDATE ${s}.steps SET state = $4, content = $5, code = $6, finish = $7, model = $8, attempts = attempts + $9, cost = cost + $10, ready_at = NULL
           WHERE key = $1 AND owner = $2 AND fence = $3 AND state IN ${OPEN} RETURNING generation`,
          [key, owner, fence, result.state, storableText(result.content), storableText(result.code), storableText(result.finish), storableText(result.model), result.attempts, result.cost],
        );
        if (!step) {
          const own = mayBeDone && (await query(`SELECT FROM ${s}.steps WHERE key = $1 AND owner = $2 AND fence = $3 AND state IN ${ENDED}`, [key, owner, fence])).length > 0;
          return own ? "ok" : "stale";
        }
        if (step.generation > 0) planned = await insertSteps(query, next(await endedSteps(query, found.drama_id, step.generation)), step.generation, found.drama_id);
        return "ok";
      });
      // Two commits of one step by this process go in the order they were made, whichever connection is the faster.
      const before = commits.get(key);
      const own = before ? before.then(end, end) : end();
      commits.set(key, own);
      try {
        return await own;
      } finally {
        if (commits.get(key) === own) commits.delete(key);
        if (planned > 0) announce();
      }
    },

    park: ({ key, owner, fence, until, code, attempts, cost }) =>
      transaction(async ({ query, mayBeDone }) => {
        const isTimed = Number.isFinite(until);
        const parked = await query(
          `UPDATE ${s}.steps SET state = 'parked', code = $4, attempts = attempts + $5, cost = cost + $6, parked_until = $7, ready_at = clock_timestamp() + $8 * interval '1 millisecond'
           WHERE key = $1 AND owner = $2 AND fence = $3 AND state IN ${OPEN} RETURNING 1`,
          [key, owner, fence, storableText(code), attempts, cost, isTimed ? until : null, isTimed ? Math.max(0, until - Date.now()) : null],
        );
        if (parked.length > 0) return "ok";
        const own = mayBeDone && (await query(`SELECT FROM ${s}.steps WHERE key = $1 AND fence = $2 AND state = 'parked'`, [key, fence])).length > 0;
        return own ? "ok" : "stale";
      }),

    release: async (keys, owner) => {
      await query(`UPDATE ${s}.steps SET state = 'planned', ready_at = '-infinity' WHERE key = ANY($1) AND owner = $2 AND state = 'leased'`, [keys, owner]);
      announce();
    },

    retire: async (keys, owner) => {
      await query(`UPDATE ${s}.steps SET state = 'planned', generation = 0, ready_at = '-infinity' WHERE key = ANY($1) AND owner = $2 AND state = 'leased'`, [keys, owner]);
      announce();
    },

    free: async ({ states = ["failed", "parked"], kinds, codes }) => {
      const freed = await query(
        `UPDATE ${s}.steps SET state = 'planned', fence = fence + 1, content = NULL, code = NULL, finish = NULL, model = NULL, parked_until = NULL, ready_at = '-infinity'
         WHERE generation = (SELECT max(generation) FROM ${s}.generations) AND state = ANY($1) AND ($2::text[] IS NULL OR kind = ANY($2)) AND ($3::text[] IS NULL OR code = ANY($3)) RETURNING 1`,
        [states, kinds ?? null, codes ?? null],
      );
      if (freed.length > 0) announce();
      return freed.length;
    },

    stream: async function* (wanted: StepQuery) {
      if (!isStorable(wanted.drama ?? "")) return;
      const filters = [wanted.kind, wanted.state, wanted.drama, wanted.generation].map((value) => value ?? null);
      const read = (after: StepRow | undefined): Promise<StepRow[]> =>
        query(
          `SELECT ${STEP_COLUMNS} FROM ${s}.steps WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR drama = $3)
             AND ($4::integer IS NULL OR generation = $4) AND key > $5 ORDER BY key LIMIT ${PAGE}`,
          [...filters, after?.key ?? ""],
        );
      for await (const page of pages(read)) yield* page;
    },

    counts: async (generation) => {
      const rows = await query<{ kind: StageKind; state: StepState; n: number }>(`SELECT kind, state, count(*)::integer AS n FROM ${s}.steps WHERE generation = $1 GROUP BY kind, state`, [generation]);
      const none = (): Record<StepState, number> => Object.fromEntries(STEP_STATES.map((state) => [state, 0])) as Record<StepState, number>;
      const counts = Object.fromEntries(STAGE_KINDS.map((kind) => [kind, none()])) as Record<StageKind, Record<StepState, number>>;
      for (const { kind, state, n } of rows) counts[kind][state] = n;
      return counts;
    },
  };
}
