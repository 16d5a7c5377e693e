import { sha256 } from "@dramascope/schema";
import type { ReportExample } from "./report-types.ts";

const MAX_CHARS = 600;

/** Text cut to a length for reading, never within a character. */
export function excerpt(text: string | null | undefined): string | null {
  if (text === null || text === undefined) return null;
  const cut = text.slice(0, MAX_CHARS);
  return text.length <= MAX_CHARS ? text : `${cut.isWellFormed() ? cut : cut.slice(0, -1)} …`;
}

/** Picks a few examples for each reason, by a seeded hash of drama and round; memory grows with the number of reasons alone. */
export interface ExamplePicker {
  /** `example` is made only where it is among the picked ones. */
  offer(reason: string, place: string, example: () => ReportExample): void;
  /** Reasons in order, their examples too. */
  list(): { reason: string; examples: ReportExample[] }[];
}

/** @param count Examples of a reason, at most. */
export function createExamplePicker(count: number, seed: string): ExamplePicker {
  const picked = new Map<string, { rank: string; example: ReportExample }[]>();
  return {
    offer: (reason, place, example) => {
      const own = picked.get(reason) ?? [];
      const rank = sha256(`${seed}\n${reason}\n${place}`);
      if (count < 1 || (own.length >= count && rank >= own.at(-1)!.rank)) return;
      own.push({ rank, example: example() });
      own.sort((a, b) => (a.rank < b.rank ? -1 : 1));
      picked.set(reason, own.slice(0, count));
    },
    list: () => [...picked].sort(([a], [b]) => (a < b ? -1 : 1)).map(([reason, own]) => ({ reason, examples: own.map(({ example }) => example) })),
  };
}
