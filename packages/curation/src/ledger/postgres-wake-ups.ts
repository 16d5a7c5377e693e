import type { PgBoss } from "pg-boss";
import type { Postgres } from "./postgres-connection.ts";

/** How idle workers hear of work. Nothing depends on it but how soon they look: without pg-boss they look every second. */
export interface WakeUps {
  /** There may be new work: tells this process now and idle workers elsewhere soon. */
  announce(): void;
  /** From now on this process is a worker of a generation. */
  watch(generation: number): void;
  /** Resolves at a piece of news, when a lease or pause ends, or after `ms`. */
  wait(ms: number, signal?: AbortSignal): Promise<void>;
  stop(): Promise<void>;
}

const POLL_MS = 1_000;
/** News of so long go out as one job. */
const ANNOUNCE_MS = 200;
/** Who waits longer than this is idle, and asks the server for news; who is at work leaves them to others. */
const IDLE_MS = 200;

interface Boss {
  boss: PgBoss;
  queue: string;
}

/** @param options `schema` is the ledger's, quoted; `bossSchema` null means no pg-boss. */
export function createWakeUps(postgres: Postgres, options: { address: string; schema: string; bossSchema: string | null }): WakeUps {
  const { schema: s, bossSchema } = options;
  const waiting = new Set<(value?: unknown) => void>();
  let generation: number | undefined;
  let starting: Promise<Boss | undefined> | undefined;
  let started: Boss | undefined;
  let announcement: NodeJS.Timeout | undefined;
  let isAsking = false;
  let isStopped = false;

  const wakeAll = (): void => {
    for (const wake of waiting) wake();
  };
  const announce = (): void => {
    wakeAll();
    if (!started || announcement || isStopped) return;
    const { boss, queue } = started;
    announcement = setTimeout(() => {
      announcement = undefined;
      boss.send(queue).catch(ignore);
    }, ANNOUNCE_MS);
  };
  /** Looks for leases and pauses that have run out while nobody was looking. */
  const sweep = async (): Promise<void> => {
    await postgres.query(`DELETE FROM ${s}.workers WHERE seen_at < clock_timestamp() - interval '1 day'`);
    const due = await postgres.query(`SELECT FROM ${s}.steps WHERE ready_at > '-infinity' AND ready_at <= (SELECT clock_timestamp()) LIMIT 1`);
    if (due.length > 0) announce();
  };
  /** When the next lease or pause ends, in milliseconds from now. */
  const nextDue = async (): Promise<number> => {
    const [row] = await postgres.query<{ ms: number | null }>(
      `SELECT (extract(epoch FROM min(ready_at) - clock_timestamp()) * 1000)::double precision AS ms FROM ${s}.steps WHERE generation = $1 AND ready_at > (SELECT clock_timestamp())`,
      [generation],
    );
    return row?.ms ?? Infinity;
  };

  return {
    announce,
    watch: (number) => {
      generation = number;
      if (bossSchema === null || starting || isStopped) return;
      starting = startBoss({ ...options, bossSchema, sweep }).catch(ignore);
      void starting.then((ready) => (started = ready));
    },
    wait: async (ms, signal) => {
      if (isStopped || signal?.aborted) return;
      const end = Promise.withResolvers<unknown>();
      const timers = [setTimeout(end.resolve, started ? ms : Math.min(ms, POLL_MS))];
      let listener: Promise<string> | undefined;
      const beIdle = (): void => {
        if (started) {
          listener = started.boss.work(started.queue, { pollingIntervalSeconds: 2, notifyPollingIntervalSeconds: 10 }, () => {
            wakeAll();
            return Promise.resolve();
          });
          listener.catch(ignore);
        }
        if (isAsking || generation === undefined) return;
        isAsking = true;
        nextDue()
          .then((due) => waiting.has(end.resolve) && due < ms && timers.push(setTimeout(end.resolve, Math.max(0, due) + 1)))
          .catch(ignore)
          .finally(() => (isAsking = false));
      };
      if (ms > IDLE_MS) timers.push(setTimeout(beIdle, IDLE_MS));
      waiting.add(end.resolve);
      signal?.addEventListener("abort", end.resolve);
      await end.promise;
      waiting.delete(end.resolve);
      signal?.removeEventListener("abort", end.resolve);
      timers.forEach(clearTimeout);
      if (listener && started) {
        const { boss, queue } = started;
        void listener.then((id) => boss.offWork(queue, { id, wait: false })).catch(ignore);
      }
    },
    stop: async () => {
      isStopped = true;
      clearTimeout(announcement);
      wakeAll();
      await starting;
      await started?.boss.stop({ graceful: false }).catch(ignore);
    },
  };
}

const ignore = (): undefined => undefined;

/** Starts pg-boss with a queue of news and a sweep once a minute; one worker sweeps for all. */
async function startBoss({ address, schema, bossSchema, sweep }: { address: string; schema: string; bossSchema: string; sweep: () => Promise<void> }): Promise<Boss> {
  const { PgBoss } = await import("pg-boss");
  const boss = new PgBoss({
    connectionString: address,
    schema: bossSchema,
    max: 2,
    useListenNotify: true,
    registerInstance: false,
    reindex: false,
    monitorVacuum: false,
    openTelemetry: { enabled: false },
  });
  // Whatever goes wrong in there, workers go on by looking for themselves.
  boss.on("error", ignore);
  await boss.start();
  try {
    const name = schema.replaceAll('"', "");
    const [queue, sweeps] = [`${name}.work`, `${name}.sweep`];
    // One job of news at a time is enough, and one sweep.
    await boss.createQueue(queue, { policy: "short", notify: true, retryLimit: 0, expireInSeconds: 60, deleteAfterSeconds: 60, retentionSeconds: 3_600 });
    await boss.createQueue(sweeps, { policy: "exclusive", heartbeatSeconds: 10, retryLimit: 0, expireInSeconds: 60, deleteAfterSeconds: 600, retentionSeconds: 600 });
    await boss.schedule(sweeps, "* * * * *");
    await boss.work(sweeps, { pollingIntervalSeconds: 10 }, sweep);
    return { boss, queue };
  } catch (error) {
    await boss.stop({ graceful: false }).catch(ignore);
    throw error;
  }
}
