import type { SpendEntry, SpendResult } from "@dramascope/chat-client";
import type { DatabaseSync } from "node:sqlite";
import { storableText } from "./storable-text.ts";
import { spendingByKind, type TaskSpending } from "./task-kind.ts";
import type { Spending } from "./spending.ts";

/** Money of a ledger's file. */
export interface AttemptTable {
  /** Writes an attempt inside a transaction; null when the budget does not allow it. */
  reserve(entry: SpendEntry, drama: number | null): string | null;
  settle(id: string, result: SpendResult): void;
  spent(): number;
  /** Adds everything up anew, after a transaction that came to nothing. */
  recount(): void;
  /** Takes a drama's name off its attempts. */
  forget(drama: number): void;
  spending(): Spending;
}

const CHARGED = "CASE WHEN ended_at IS NULL THEN estimate ELSE cost END";

/**
 * Prepares access to the attempts.
 *
 * @param session Number of the opening whose open attempts are on the way by now; open ones of others have an unknown end.
 */
export function attemptTable(database: DatabaseSync, { session, maxCost = Infinity }: { session: () => number; maxCost?: number | undefined }): AttemptTable {
  const insert = database.prepare("INSERT INTO attempts (session, key, drama, task, attempt, estimate, started_at) VALUES (?, ?, ?, ?, ?, ?, ?)");
  const open = database.prepare("SELECT estimate FROM attempts WHERE id = ? AND ended_at IS NULL");
  const end = database.prepare(`UPDATE attempts SET ended_at = ?, cost = ?, is_unknown = ?, outcome = ?, code = ?, prompt_tokens = ?, completion_tokens = ?, cached_tokens = ?, usage_source = ? WHERE id = ?`);
  const forget = database.prepare("UPDATE attempts SET drama = NULL WHERE drama = ?");
  const total = database.prepare(`SELECT total(${CHARGED}) AS spent FROM attempts`);
  const sums = database.prepare(`SELECT total(CASE WHEN ended_at IS NOT NULL AND NOT is_unknown THEN cost END) AS settled,
    total(CASE WHEN ended_at IS NULL AND session <> :session THEN estimate WHEN is_unknown THEN cost END) AS unknown, total(CASE WHEN ended_at IS NULL AND session = :session THEN estimate END) AS inFlight,
    total(prompt_tokens) AS promptTokens, total(completion_tokens) AS completionTokens FROM attempts`);
  const byTask = database.prepare(`SELECT task, count(*) AS calls, total(${CHARGED}) AS cost, count(*) - count(DISTINCT key) AS retries FROM attempts WHERE outcome IS NOT 'not-sent' GROUP BY task`);
  const byOutcome = database.prepare("SELECT coalesce(outcome, CASE WHEN session = ? THEN 'in-flight' ELSE 'unknown' END) AS outcome, count(*) AS n FROM attempts GROUP BY 1 ORDER BY 1");
  const count = (): number => (total.get() as { spent: number }).spent;
  let spent = count();
  return {
    reserve: ({ key, attempt, task, estimate, at }, drama) => {
      if (!(spent + estimate <= maxCost)) return null;
      const { lastInsertRowid } = insert.run(session(), storableText(key), drama, storableText(task), attempt, estimate, at);
      spent += estimate;
      return String(lastInsertRowid);
    },
    settle: (id, { at, cost, isUnknown, outcome, code, usage }) => {
      const row = open.get(id) as { estimate: number } | undefined;
      if (row === undefined) return;
      end.run(at, cost, Number(isUnknown), storableText(outcome), storableText(code ?? null), usage?.promptTokens ?? null, usage?.completionTokens ?? null, usage?.cachedTokens ?? null, usage?.source ?? null, id);
      spent += cost - row.estimate;
    },
    spent: () => spent,
    recount: () => {
      spent = count();
    },
    forget: (drama) => void forget.run(drama),
    spending: () => {
      const outcomes = byOutcome.all(session()) as unknown as { outcome: string; n: number }[];
      return {
        ...(sums.get({ session: session() }) as Omit<Spending, "calls" | "byKind" | "byOutcome">),
        ...spendingByKind(byTask.all() as unknown as TaskSpending[]),
        byOutcome: Object.fromEntries(outcomes.map(({ outcome, n }) => [outcome, n])),
      };
    },
  };
}
