import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { SpendBook, SpendEntry, SpendResult } from "@dramascope/chat-client";
import type { Postgres, Query } from "./postgres-connection.ts";
import { storableText } from "./storable-text.ts";
import { spendingByKind, type TaskSpending } from "./task-kind.ts";
import type { Spending } from "./spending.ts";

type Reservation = SpendEntry & { id: string; done: (id: string | null) => void; failed: (error: unknown) => void };
type Settlement = SpendResult & { id: string; done: () => void; failed: (error: unknown) => void };

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Entries of one process share a transaction: all workers' bookings pass through one row. */
const GROUP_MS = 5;
/** A worker that was not seen for so long is taken for dead: what it had on the way is unknown spend. */
const SILENCE = "90 seconds";
const SIGN_OF_LIFE_MS = 10_000;
const LEAVE_MS = 1_000;

/** The ledger's money in Postgres; attempts of all workers count against one budget. */
export interface PostgresSpendBook extends Required<SpendBook> {
  spending(): Promise<Spending>;
  /** Tells the others that this worker lives, at most every ten seconds. */
  signOfLife(): void;
  /** Writes what is waiting; this worker's open attempts are unknown spend from then on. */
  close(): Promise<void>;
}

/**
 * Opens the book of a schema (quoted). Money is summed in decimals, so that sums do not depend on the order of bookings.
 *
 * @param options `isReadOnly` leaves this process out of the list of workers; then nothing may be booked.
 */
export async function openPostgresSpendBook(postgres: Postgres, s: string, { maxCost = Infinity, isReadOnly = false }: { maxCost?: number | undefined; isReadOnly?: boolean } = {}): Promise<PostgresSpendBook> {
  const worker = randomUUID();
  let reservations: Reservation[] = [];
  let settlements: Settlement[] = [];
  let total = 0;
  let flushing: Promise<void> | undefined;
  let seenAt = -Infinity;

  const read = async (query: Query, suffix = ""): Promise<number> => {
    const [row] = await query<{ total: number }>(`SELECT (settled + open)::double precision AS total FROM ${s}.budget ${suffix}`);
    return row!.total;
  };

  /** Ends attempts; what the book says afterwards. */
  const end = async (query: Query, ended: readonly Settlement[]): Promise<number> => {
    const [row] = await query<{ total: number }>(
      `WITH given AS (SELECT * FROM unnest($1::uuid[], $2::double precision[], $3::text[], $4::text[], $5::boolean[], $6::double precision[], $7::integer[], $8::integer[], $9::integer[], $10::text[])
           AS g (id, cost, outcome, code, is_unknown, ended_at, prompt_tokens, completion_tokens, cached_tokens, usage_source)),
         ended AS (UPDATE ${s}.attempts a SET cost = g.cost, outcome = g.outcome, code = g.code, is_unknown = g.is_unknown, ended_at = g.ended_at, prompt_tokens = g.prompt_tokens,
           completion_tokens = g.completion_tokens, cached_tokens = g.cached_tokens, usage_source = g.usage_source FROM given g WHERE a.id = g.id AND a.outcome IS NULL RETURNING a.cost, a.estimate)
       UPDATE ${s}.budget SET settled = settled + (SELECT coalesce(sum(cost::numeric), 0) FROM ended), open = open - (SELECT coalesce(sum(estimate::numeric), 0) FROM ended)
       RETURNING (settled + open)::double precision AS total`,
      [
        ended.map(({ id }) => id),
        ended.map(({ cost }) => cost),
        ended.map(({ outcome }) => storableText(outcome)),
        ended.map(({ code }) => storableText(code ?? null)),
        ended.map(({ isUnknown }) => isUnknown),
        ended.map(({ at }) => at),
        ended.map(({ usage }) => usage?.promptTokens ?? null),
        ended.map(({ usage }) => usage?.completionTokens ?? null),
        ended.map(({ usage }) => usage?.cachedTokens ?? null),
        ended.map(({ usage }) => usage?.source ?? null),
      ],
    );
    return row!.total;
  };

  /** Starts attempts if the budget allows all of them; what the book says afterwards, undefined when it does not. */
  const start = async (query: Query, asked: readonly Reservation[]): Promise<number | undefined> => {
    const [row] = await query<{ total: number }>(
      `WITH given AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::double precision[], $7::double precision[]) AS g (id, key, attempt, task, drama, estimate, started_at)),
         booked AS (UPDATE ${s}.budget SET open = open + (SELECT sum(estimate::numeric) FROM given)
           WHERE (settled + open + (SELECT sum(estimate::numeric) FROM given))::double precision <= $9 RETURNING (settled + open)::double precision AS total),
         started AS (INSERT INTO ${s}.attempts (id, key, attempt, task, drama, worker, estimate, started_at)
           SELECT id, key, attempt, task, drama, $8, estimate, started_at FROM given WHERE EXISTS (SELECT FROM booked))
       SELECT total FROM booked`,
      [
        asked.map(({ id }) => id),
        asked.map(({ key }) => storableText(key)),
        asked.map(({ attempt }) => attempt),
        asked.map(({ task }) => storableText(task)),
        asked.map(({ drama }) => storableText(drama)),
        asked.map(({ estimate }) => estimate),
        asked.map(({ at }) => at),
        worker,
        maxCost,
      ],
    );
    return row?.total;
  };

  /** Starts attempts; gives those that the budget allows. */
  const startAllowed = (asked: readonly Reservation[]): Promise<ReadonlySet<string>> =>
    postgres.transaction(async ({ query, mayBeDone }) => {
      const idsOf = (entries: readonly Reservation[]): Set<string> => new Set(entries.map(({ id }) => id));
      if (mayBeDone) {
        total = await read(query, "FOR UPDATE");
        const known = await query<{ id: string }>(`SELECT id::text FROM ${s}.attempts WHERE id = ANY($1::uuid[])`, [[...idsOf(asked)]]);
        if (known.length > 0) return new Set(known.map(({ id }) => id));
      }
      const all = await start(query, asked);
      if (all !== undefined) {
        total = all;
        return idsOf(asked);
      }
      // Not all of them fit: those that do, in the order they came.
      total = await read(query, "FOR UPDATE");
      let sum = total;
      const allowed = asked.filter(({ estimate }) => {
        if (!(sum + estimate <= maxCost)) return false;
        sum += estimate;
        return true;
      });
      const booked = allowed.length > 0 ? await start(query, allowed) : undefined;
      if (booked === undefined) return new Set();
      total = booked;
      return idsOf(allowed);
    });

  /** Books a group. Every statement holds the row of all workers' money for no longer than it must. */
  const book = async (asked: readonly Reservation[], ended: readonly Settlement[]): Promise<ReadonlySet<string>> => {
    // An attempt ends once, however often it is told.
    if (ended.length > 0) total = await end(postgres.query, ended);
    return asked.length > 0 ? startAllowed(asked) : new Set();
  };

  const flush = async (): Promise<void> => {
    while (reservations.length + settlements.length > 0) {
      const [asked, ended] = [reservations, settlements];
      [reservations, settlements] = [[], []];
      try {
        const allowed = await book(asked, ended);
        for (const { id, done } of asked) done(allowed.has(id) ? id : null);
        for (const { done } of ended) done();
      } catch (error) {
        for (const { failed } of [...asked, ...ended]) failed(error);
      }
    }
  };
  const soon = (): void => {
    flushing ??= sleep(GROUP_MS)
      .then(flush)
      .finally(() => {
        flushing = undefined;
        if (reservations.length + settlements.length > 0) soon(); // those that came as the last group was being answered
      });
  };
  const beSeen = async (): Promise<void> => {
    seenAt = performance.now();
    await postgres.query(`INSERT INTO ${s}.workers VALUES ($1, clock_timestamp()) ON CONFLICT (worker) DO UPDATE SET seen_at = excluded.seen_at`, [worker]);
  };
  const signOfLife = (): void => {
    if (performance.now() - seenAt > SIGN_OF_LIFE_MS) beSeen().catch(() => (seenAt = -Infinity));
  };

  if (!isReadOnly) await beSeen();
  total = await read(postgres.query);
  return {
    reserve: (entry) =>
      new Promise((done, failed) => {
        signOfLife();
        reservations.push({ ...entry, id: randomUUID(), done, failed });
        soon();
      }),
    settle: (id, entry) =>
      new Promise((done, failed) => {
        if (!UUID.test(id)) {
          done(); // none of this book's
          return;
        }
        settlements.push({ ...entry, id, done, failed });
        soon();
      }),
    spent: () => total,
    isOpenElsewhere: async () => {
      const [row] = await postgres.query<{ isOpen: boolean }>(
        `SELECT EXISTS (SELECT FROM ${s}.attempts a JOIN ${s}.workers w ON w.worker = a.worker WHERE a.outcome IS NULL AND a.worker <> $1 AND w.seen_at > clock_timestamp() - interval '${SILENCE}') AS "isOpen"`,
        [worker],
      );
      return row!.isOpen;
    },
    spending: () =>
      postgres.transaction(async ({ query }) => {
        await query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
        const attempts = `(SELECT task, key, coalesce(cost, estimate)::numeric AS money,
            CASE WHEN outcome IS NOT NULL THEN CASE WHEN is_unknown THEN 'unknown' ELSE 'settled' END WHEN w.worker IS NULL THEN 'unknown' ELSE 'in-flight' END AS standing,
            coalesce(outcome, CASE WHEN w.worker IS NULL THEN 'unknown' ELSE 'in-flight' END) AS outcome
          FROM ${s}.attempts a LEFT JOIN ${s}.workers w ON w.worker = a.worker AND w.seen_at > clock_timestamp() - interval '${SILENCE}') AS attempts`;
        const money = await query<{ standing: string; money: number }>(`SELECT standing, sum(money)::double precision AS money FROM ${attempts} GROUP BY standing`);
        const tasks = await query<TaskSpending>(
          `SELECT task, count(*)::integer AS calls, sum(money)::double precision AS cost, (count(*) - count(DISTINCT key))::integer AS retries FROM ${attempts} WHERE outcome <> 'not-sent' GROUP BY task ORDER BY task`,
        );
        const outcomes = await query<{ outcome: string; calls: number }>(`SELECT outcome, count(*)::integer AS calls FROM ${attempts} GROUP BY outcome ORDER BY outcome`);
        const [tokens] = await query<Pick<Spending, "promptTokens" | "completionTokens">>(
          `SELECT coalesce(sum(prompt_tokens), 0)::double precision AS "promptTokens", coalesce(sum(completion_tokens), 0)::double precision AS "completionTokens" FROM ${s}.attempts`,
        );
        const charged = (standing: string): number => money.find((row) => row.standing === standing)?.money ?? 0;
        return {
          settled: charged("settled"),
          unknown: charged("unknown"),
          inFlight: charged("in-flight"),
          ...tokens!,
          ...spendingByKind(tasks),
          byOutcome: Object.fromEntries(outcomes.map(({ outcome, calls }) => [outcome, calls])),
        };
      }),
    signOfLife,
    close: async () => {
      while (flushing) await flushing;
      if (isReadOnly) return;
      // Others find out anyhow when this worker falls silent: no reason to wait for a server that is away.
      const leave = postgres.query(`DELETE FROM ${s}.workers WHERE worker = $1`, [worker]).catch(() => undefined);
      await Promise.race([leave, sleep(LEAVE_MS, undefined, { ref: false })]);
    },
  };
}
