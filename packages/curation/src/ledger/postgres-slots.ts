import { setTimeout as sleep } from "node:timers/promises";
import { bookSlots, freshPace, systemClock, type Clock, type Limits, type PaceRequest, type PaceState, type SlotStore } from "@dramascope/chat-client";
import { connectPostgres } from "./postgres-connection.ts";
import { migrate, quotedSchema } from "./postgres-schema.ts";
import { storableText } from "./storable-text.ts";

/** Options of {@link openPostgresSlots}. */
export interface PostgresSlotsOptions {
  /** What is limited, for example a provider's model: workers with the same name share the limits. Default `teacher`. */
  resource?: string;
  /** Clock of the sending times. Default the time of this process. */
  clock?: Clock;
  /** Schema of the ledger's tables. Default `dramascope`. */
  schema?: string;
  /** How long to go on trying while the server is away, in milliseconds. Default 120,000. */
  patienceMs?: number;
}

/** Sending times that workers share. */
export interface SharedSlots extends SlotStore {
  close(): Promise<void>;
}

/** What one process asks for in so short a time is booked at once. */
const GROUP_MS = 3;

const COLUMNS: readonly (readonly [keyof PaceState, string])[] = [
  ["nextRequest", "next_request"],
  ["nextTokens", "next_tokens"],
  ["largest", "largest"],
  ["blockedUntil", "blocked_until"],
  ["pace", "pace"],
  ["paceSince", "pace_since"],
  ["heardUntil", "heard_until"],
  ["seenAt", "seen_at"],
];

/**
 * Books sending times in Postgres, so that workers on several machines keep a provider's limits together, and one worker's 429 slows all of them down. Times are booked one
 * by one against the server's clock, so that a worker that dies leaves no more unused than it had asked for, and come back in those of this process' clock.
 *
 * @param address `postgres://user:password@host:port/database`.
 * @param limits  The same for all workers.
 * @throws CurationError LEDGER_UNAVAILABLE, LEDGER_IO, LEDGER_VERSION, LEDGER_SCHEMA.
 */
export async function openPostgresSlots(address: string, limits: Limits, options: PostgresSlotsOptions = {}): Promise<SharedSlots> {
  const { clock = systemClock, schema = "dramascope", patienceMs } = options;
  const resource = storableText(options.resource ?? "teacher");
  const s = quotedSchema(schema);
  const postgres = await connectPostgres(address, { connections: 1, ...(patienceMs === undefined ? {} : { patienceMs }) });
  const now = "(extract(epoch FROM clock_timestamp()) * 1000)::double precision AS now";
  const names = COLUMNS.map(([, column]) => column).join(", ");
  const valuesOf = (state: PaceState): number[] => COLUMNS.map(([field]) => state[field]);
  try {
    await migrate(postgres, schema);
    const [server] = await postgres.query<{ now: number }>(`SELECT ${now}`);
    await postgres.query(`INSERT INTO ${s}.provider_budget (resource, ${names}) VALUES ($1, ${COLUMNS.map((_, i) => `$${i + 2}`).join(", ")}) ON CONFLICT DO NOTHING`, [resource, ...valuesOf(freshPace(server!.now))]);
  } catch (error) {
    await postgres.close();
    throw error;
  }

  let waiting: { ask: (toServer: number) => PaceRequest; done: (times: number[]) => void; failed: (error: unknown) => void }[] = [];
  let booking: Promise<void> | undefined;

  const book = async (group: typeof waiting): Promise<void> => {
    try {
      const booked = await postgres.transaction(async ({ query }) => {
        const [before] = await query<PaceState>(`SELECT ${COLUMNS.map(([field, column]) => `${column} AS "${field}"`).join(", ")} FROM ${s}.provider_budget WHERE resource = $1 FOR UPDATE`, [resource]);
        const [server] = await query<{ now: number }>(`SELECT ${now}`); // once the row is ours: it may have been waited for
        const toServer = server!.now - clock.now();
        const { state, times } = bookSlots(before!, group.map(({ ask }) => ask(toServer)), server!.now, limits);
        await query(`UPDATE ${s}.provider_budget SET (${names}) = (${COLUMNS.map((_, i) => `$${i + 2}`).join(", ")}) WHERE resource = $1`, [resource, ...valuesOf(state)]);
        return times.map((list) => list.map((time) => time - toServer));
      });
      group.forEach(({ done }, i) => done(booked[i]!));
    } catch (error) {
      for (const { failed } of group) failed(error);
    }
  };
  const soon = (): void => {
    booking ??= sleep(GROUP_MS)
      .then(async () => {
        const group = waiting;
        waiting = [];
        await book(group);
      })
      .finally(() => {
        booking = undefined;
        if (waiting.length > 0) soon();
      });
  };
  const request = (ask: (toServer: number) => PaceRequest): Promise<number[]> =>
    new Promise((done, failed) => {
      waiting.push({ ask, done, failed });
      soon();
    });

  return {
    take: (count, tokens) => request(() => ({ kind: "take", count, tokens })),
    adjust: async (tokens) => {
      await request(() => ({ kind: "adjust", tokens }));
    },
    slowDown: async (untilMs) => {
      await request((toServer) => ({ kind: "slowDown", until: untilMs + toServer }));
    },
    close: async () => {
      while (booking) await booking;
      await postgres.close();
    },
  };
}
