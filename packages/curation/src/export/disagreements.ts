import { writeJsonl, type Quality } from "@dramascope/schema";
import type { CurationConfig } from "../config.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import { openExport } from "./open-export.ts";
import type { ReplayedDrama } from "./replayed-drama.ts";

/** A readable answer that was not accepted, for a person to look at. */
export interface Disagreement {
  dramaId: string;
  genre: string | null;
  /** Known class. */
  quality: Quality;
  /** 1-based. */
  round: number;
  temperature: number;
  /** Class that the teacher gave. */
  predicted: Quality;
  /** Another class than the known one, or not accepted by the filter. */
  verdict: "mismatch" | "rejected";
  /** Votes of the filter; none for another class. */
  votes: boolean[];
  /** The filter's words; null without any. */
  reason: string | null;
  /** Rules of the local check that the text breaks. */
  preflags: string[];
  think: string;
  caption: string | null;
  /** Ledger keys of the answers. */
  stepKeys: string[];
}

/** Rounds of a drama in which teacher and class, or teacher and filter, disagree. */
export function disagreementsOf({ outcome }: Pick<ReplayedDrama, "outcome">): Disagreement[] {
  const { record, rounds, caption } = outcome;
  const { dramaId, quality, drama } = record;
  return rounds.flatMap(({ verdict, predicted, think, round, temperature, votes, reason, preflags, stepKeys }): Disagreement[] => {
    if ((verdict !== "mismatch" && verdict !== "rejected") || predicted === null || think === null) return [];
    return [{ dramaId, genre: drama.genre ?? null, quality, round, temperature, predicted, verdict, votes, reason: reason ?? null, preflags: [...preflags], think, caption, stepKeys }];
  });
}

/**
 * Writes {@link Disagreement}s of all dramas as JSONL, in the order of exports; whole or absent. No comment is in it.
 *
 * @returns Number of them.
 * @throws CurationError `GENERATION_UNKNOWN` when the ledger holds no answers under these settings, `GENERATION_OLD` when it has a newer generation.
 */
export async function exportDisagreements(ledger: StepLedger, config: CurationConfig, path: string): Promise<number> {
  const { source } = await openExport(ledger, config);
  async function* all(): AsyncGenerator<Disagreement> {
    for await (const replayed of source()) yield* disagreementsOf(replayed);
  }
  return writeJsonl(path, all());
}
