import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { CurationError } from "../errors.ts";
import type { DramaTable } from "./sqlite-dramas.ts";
import { checkNames, storableText } from "./storable-text.ts";
import { STAGE_KINDS, STEP_STATES, type FreeRequest, type Leased, type LeaseRequest, type StageKind, type StepCommit, type StepParking, type StepQuery, type StepRow, type StepSpec, type StepState } from "./step-types.ts";

/** A row and its number in the file. */
interface NumberedStep {
  id: number;
  row: StepRow;
}

/** Steps of a ledger's file; what writes runs inside a transaction. */
export interface StepTable {
  plan(steps: readonly StepSpec[], generation: number): number;
  lease(request: LeaseRequest): Leased[];
  heartbeat(keys: readonly string[], owner: string, ttlMs: number): { lost: string[] };
  commit(commit: StepCommit): "ok" | "stale";
  park(parking: StepParking): "ok" | "stale";
  release(keys: readonly string[], owner: string): void;
  /** Gives leases back of steps that nothing asks for. */
  putAside(keys: readonly string[], owner: string): void;
  free(request: FreeRequest): number;
  /** Takes up what a former process left: its leases are void, and no pause is longer than it was asked for. */
  resume(): void;
  /** Puts a drama's steps aside: its content has changed. */
  retire(drama: number): void;
  /** All steps of a drama, by its number and id, in a generation; in order of key. */
  ofDrama(drama: number, id: string, generation: number): StepRow[];
  page(query: StepQuery & { after: number; max: number }): NumberedStep[];
  counts(generation: number): Record<StageKind, Record<StepState, number>>;
  countOf(drama: number): number;
  /** When the next lease or time of parking will run out. */
  nextDue(): number;
}

const COLUMNS = `s.key, s.kind, s.round, s.part, s.generation, s.state, c.text, s.code, s.finish, s.model, s.attempts, s.cost, s.fence,
  CASE WHEN s.state IN ('planned', 'parked') THEN NULL ELSE s.owner END, s.lease_until, s.parked_until`;
const ROWS = `SELECT ${COLUMNS} FROM steps s LEFT JOIN contents c ON c.step = s.id`;

/** Values of {@link COLUMNS}. */
type Columns = [
  key: string, kind: StageKind, round: number, part: number, generation: number, state: StepState, text: Uint8Array | null, code: string | null, finish: string | null, model: string | null,
  attempts: number, cost: number, fence: number, owner: string | null, leaseUntil: number | null, parkedUntil: number | null,
];

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

function rowOf(drama: string, [key, kind, round, part, generation, state, text, code, finish, model, attempts, cost, fence, owner, leaseUntil, parkedUntil]: Columns): StepRow {
  const content = text === null ? null : decoder.decode(text);
  return { key, kind, drama, round, part, generation, state, content, code, finish, model, attempts, cost, fence, owner, leaseUntil, parkedUntil };
}

/** Rows come as arrays, which takes less time than objects. */
function prepareRows(database: DatabaseSync, sql: string): (...values: SQLInputValue[]) => Columns[] {
  const statement = database.prepare(sql);
  statement.setReturnArrays(true);
  return (...values) => statement.all(...values) as unknown as Columns[];
}

/** The part of a row that decides whose step it is. */
interface Holding {
  id: number;
  drama: number;
  generation: number;
  state: StepState;
  owner: string | null;
  fence: number;
}

/**
 * Prepares access to the steps.
 *
 * @param time A clock that only goes forward.
 * @param wall Milliseconds since 1970.
 */
export function stepTable(database: DatabaseSync, { dramas, time, wall }: { dramas: DramaTable; time: () => number; wall: () => number }): StepTable {
  const insert = database.prepare(`INSERT INTO steps (key, generation, kind, drama, round, part) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET generation = excluded.generation WHERE generation <> excluded.generation`);
  const leased = database.prepare("SELECT count(*) AS n FROM steps WHERE state = 'leased' AND lease_until > ?");
  // Each part reads its own partial index, and no more than it gives.
  const waiting = database.prepare(`SELECT id, drama FROM (SELECT id, drama FROM steps WHERE state = 'planned' AND generation = :generation AND kind = :kind ORDER BY drama, id LIMIT :max)
    UNION ALL SELECT id, drama FROM (SELECT id, drama FROM steps WHERE state = 'leased' AND lease_until <= :now AND generation = :generation AND kind = :kind ORDER BY lease_until LIMIT :max)
    UNION ALL SELECT id, drama FROM (SELECT id, drama FROM steps WHERE state = 'parked' AND due <= :now AND generation = :generation AND kind = :kind ORDER BY due LIMIT :max)`);
  const take = database.prepare("UPDATE steps SET state = 'leased', owner = ?, fence = fence + 1, lease_until = ?, code = NULL, parked_until = NULL, pause = NULL, due = NULL WHERE id = ?");
  const byId = prepareRows(database, `${ROWS} WHERE s.id = ?`);
  const ended = prepareRows(database, `${ROWS} WHERE s.drama = ? AND s.generation = ? AND s.state IN ('done', 'failed', 'blocked')`);
  const ofDrama = prepareRows(database, `${ROWS} WHERE s.drama = ? AND s.generation = ?`);
  const hold = database.prepare("UPDATE steps SET lease_until = ? WHERE key = ? AND owner = ? AND state = 'leased'");
  const holding = database.prepare("SELECT id, drama, generation, state, owner, fence FROM steps WHERE key = ?");
  const finish = database.prepare("UPDATE steps SET state = ?, code = ?, finish = ?, model = ?, attempts = attempts + ?, cost = cost + ?, lease_until = NULL WHERE id = ?");
  const keep = database.prepare("INSERT INTO contents (step, text) VALUES (?, ?) ON CONFLICT (step) DO UPDATE SET text = excluded.text");
  const aside = database.prepare("UPDATE steps SET state = 'parked', code = ?, attempts = attempts + ?, cost = cost + ?, lease_until = NULL, parked_until = ?, pause = ?, due = ? WHERE id = ?");
  const giveBack = database.prepare("UPDATE steps SET state = 'planned', lease_until = NULL WHERE key = ? AND owner = ? AND state = 'leased'");
  const putAside = database.prepare("UPDATE steps SET state = 'planned', lease_until = NULL, generation = 0 WHERE key = ? AND owner = ? AND state = 'leased'");
  const unwanted = database.prepare(`SELECT id FROM steps WHERE generation = (SELECT max(generation) FROM generations) AND state IN (SELECT value FROM json_each(?))
    AND kind IN (SELECT value FROM json_each(?)) AND (:codes IS NULL OR code IN (SELECT value FROM json_each(:codes)))`);
  const again = database.prepare("UPDATE steps SET state = 'planned', code = NULL, finish = NULL, model = NULL, fence = fence + 1, parked_until = NULL, pause = NULL, due = NULL WHERE id = ?");
  const drop = database.prepare("DELETE FROM contents WHERE step = ?");
  const retire = database.prepare("UPDATE steps SET generation = 0 WHERE drama = ?");
  const counts = database.prepare("SELECT kind, state, count(*) AS n FROM steps WHERE generation = ? GROUP BY kind, state");
  const countOf = database.prepare("SELECT count(*) AS n FROM steps WHERE drama = ?");
  const due = database.prepare("SELECT min((SELECT ifnull(min(lease_until), 9e999) FROM steps WHERE state = 'leased' AND lease_until > :now), (SELECT ifnull(min(due), 9e999) FROM steps WHERE state = 'parked' AND due > :now)) AS at");

  const inOrder = (drama: string, rows: Columns[]): StepRow[] => rows.sort(([a], [b]) => (a < b ? -1 : 1)).map((row) => rowOf(drama, row));

  const plan: StepTable["plan"] = (steps, generation) => {
    let last: { id: string; no: number } | undefined;
    let added = 0;
    for (const { key, kind, drama, round, part } of steps) {
      checkNames("the step's key", key);
      if (last?.id !== drama) {
        const no = dramas.numberOf(drama);
        if (no === undefined) throw new CurationError(`step ${key}: the ledger does not hold drama ${JSON.stringify(drama)}`, { code: "LEDGER_DRAMA_UNKNOWN", hint: "Store the drama before its steps." });
        last = { id: drama, no };
      }
      added += Number(insert.run(key, generation, kind, last.no, round, part).changes);
    }
    return added;
  };

  /** The step, while this lease is the last word on it. */
  const heldBy = ({ key, owner, fence }: { key: string; owner: string; fence: number }): Holding | undefined => {
    const step = holding.get(key) as Holding | undefined;
    const isOpen = step?.state === "leased" || step?.state === "planned";
    return isOpen && step.owner === owner && step.fence === fence ? step : undefined;
  };

  return {
    plan,
    lease: ({ owner, max, ttlMs, generation, kinds = STAGE_KINDS, maxLeased = Infinity }) => {
      checkNames("the owner's name", owner);
      const now = time();
      const room = Math.max(0, Math.min(max, maxLeased - (leased.get(now) as { n: number }).n));
      // Dramas that were begun end before others begin.
      const found = kinds.flatMap((kind) => waiting.all({ generation, kind, now, max: room }) as unknown as { id: number; drama: number }[]);
      found.sort((a, b) => a.drama - b.drama || a.id - b.id);
      return found.slice(0, room).map(({ id, drama }) => {
        take.run(owner, now + ttlMs, id);
        const record = dramas.get(drama);
        return { step: rowOf(record.dramaId, byId(id)[0]!), drama: record, answers: inOrder(record.dramaId, ended(drama, generation)) };
      });
    },
    heartbeat: (keys, owner, ttlMs) => {
      const until = time() + ttlMs;
      return { lost: keys.filter((key) => hold.run(until, key, owner).changes === 0) };
    },
    commit: ({ result, next, ...lease }) => {
      const step = heldBy(lease);
      if (step === undefined) return "stale";
      finish.run(result.state, storableText(result.code), storableText(result.finish), storableText(result.model), result.attempts, result.cost, step.id);
      if (result.content !== null) keep.run(step.id, encoder.encode(storableText(result.content)));
      // What a changed drama calls for is planned anew, not after answers about what it was.
      if (step.generation > 0) plan(next(inOrder(dramas.idOf(step.drama), ended(step.drama, step.generation))), step.generation);
      return "ok";
    },
    park: ({ until, code, attempts, cost, ...lease }) => {
      const step = heldBy(lease);
      if (step === undefined) return "stale";
      const pause = Math.max(0, until - wall());
      const isTimed = Number.isFinite(pause);
      aside.run(storableText(code), attempts, cost, isTimed ? until : null, isTimed ? pause : null, isTimed ? time() + pause : null, step.id);
      return "ok";
    },
    release: (keys, owner) => {
      for (const key of keys) giveBack.run(key, owner);
    },
    putAside: (keys, owner) => {
      for (const key of keys) putAside.run(key, owner);
    },
    free: ({ states = ["failed", "parked"], kinds = STAGE_KINDS, codes }) => {
      const ids = unwanted.all({ ":codes": codes === undefined ? null : JSON.stringify(codes) }, JSON.stringify(states), JSON.stringify(kinds)) as { id: number }[];
      for (const { id } of ids) {
        again.run(id);
        drop.run(id);
      }
      return ids.length;
    },
    resume: () => {
      database.exec("UPDATE steps SET state = 'planned', lease_until = NULL WHERE state = 'leased'");
      database.prepare("UPDATE steps SET due = ? + max(0, min(parked_until - ?, pause)) WHERE state = 'parked' AND pause IS NOT NULL").run(time(), wall());
    },
    retire: (drama) => void retire.run(drama),
    ofDrama: (drama, id, generation) => inOrder(id, ofDrama(drama, generation)),
    page: ({ kind, state, drama, generation, after, max }) => {
      const no = drama === undefined ? undefined : (dramas.numberOf(drama) ?? -1);
      const conditions: [string, SQLInputValue | undefined][] = [["s.id > ?", after], ["s.kind = ?", kind], ["s.state = ?", state], ["s.drama = ?", no], ["s.generation = ?", generation]];
      const used = conditions.filter(([, value]) => value !== undefined);
      const sql = `SELECT ${COLUMNS}, s.id, d.drama_id FROM steps s JOIN dramas d ON d.no = s.drama LEFT JOIN contents c ON c.step = s.id WHERE ${used.map(([text]) => text).join(" AND ")} ORDER BY s.id LIMIT ?`;
      return prepareRows(database, sql)(...used.map(([, value]) => value!), max).map((row) => {
        const [id, name] = (row as unknown[]).slice(-2) as [number, string];
        return { id, row: rowOf(name, row) };
      });
    },
    counts: (generation) => {
      const found = counts.all(generation) as unknown as { kind: StageKind; state: StepState; n: number }[];
      const byState = (kind: StageKind): Record<StepState, number> => Object.fromEntries(STEP_STATES.map((state) => [state, found.find((one) => one.kind === kind && one.state === state)?.n ?? 0])) as Record<StepState, number>;
      return Object.fromEntries(STAGE_KINDS.map((kind) => [kind, byState(kind)])) as Record<StageKind, Record<StepState, number>>;
    },
    countOf: (drama) => (countOf.get(drama) as { n: number }).n,
    nextDue: () => (due.get({ now: time() }) as { at: number }).at,
  };
}
