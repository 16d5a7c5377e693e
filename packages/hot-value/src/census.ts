import { createHash } from "node:crypto";
import { dueDate, lastEligibleRelease } from "./eligibility.ts";
import type { FitPlan } from "./options.ts";

/** One drama of the population. */
interface DramaSummary {
  dramaId: string;
  releasedOn: string;
  /** Its first and last snapshot, and how many there are. */
  firstDate: string;
  lastDate: string;
  rows: number;
  /** Largest hot value inside the peak window; null when no snapshot lies there. */
  hotValue: number | null;
  /** Largest values of the indicators that `minEngagement` names. */
  maxima: readonly number[];
}

/** Numbers that grow without bound, 8 bytes each. */
interface NumberList {
  push(value: number): void;
  /** What was pushed, in order. */
  values(): Float64Array;
}

/** An empty list. */
function createNumberList(): NumberList {
  let room = new Float64Array(1024);
  let length = 0;
  return {
    push(value) {
      if (length === room.length) {
        const larger = new Float64Array(2 * length);
        larger.set(room);
        room = larger;
      }
      room[length++] = value;
    },
    values: () => room.subarray(0, length),
  };
}

/** Dramas whose ids stand in the report, at most. */
const MAX_IDS = 1000;

/** How a drama stands. */
interface Standing {
  /** Old enough. */
  eligible: boolean;
  /** Old enough, engaged enough, and with a peak: it has a class. */
  isLabelled: boolean;
}

/** What a population of dramas amounts to. */
export interface Census {
  /** Takes the next drama, in the order of the bytes of the ids. */
  add(drama: DramaSummary): Standing;
  /** How a drama stands, without taking it. */
  standing(drama: DramaSummary): Standing & { isLate: boolean; isEngaged: boolean };
  counts: { rows: number; dramas: number; eligible: number; fitted: number; belowEngagement: number; withoutPeak: number; leftTruncated: number };
  /** Ids of the first dramas that were seen too late. */
  leftTruncatedIds: string[];
  /** Hot values of all dramas, of those with a class, and of those that the classes are fitted on. */
  all: NumberList;
  labelled: NumberList;
  fitted: NumberList;
  /** SHA-256 over `id, first date, last date, rows` of every drama. */
  idsHash(): string;
}

/** One line of the hash of the ids. */
const idLine = (dramaId: string, first: string, last: string, rows: number): string => `${dramaId}\t${first}\t${last}\t${rows}\n`;

/** Starts a census. */
export function createCensus(plan: FitPlan): Census {
  const { minAge, minEngagement, leftTruncated } = plan.options;
  const lastEligible = lastEligibleRelease(plan.asOf, minAge);
  const due = new Map<string, string>();
  const dueOf = (releasedOn: string): string => {
    const known = due.get(releasedOn) ?? dueDate(releasedOn, minAge);
    due.set(releasedOn, known);
    return known;
  };
  const hash = createHash("sha256");
  const census: Census = {
    counts: { rows: 0, dramas: 0, eligible: 0, fitted: 0, belowEngagement: 0, withoutPeak: 0, leftTruncated: 0 },
    leftTruncatedIds: [],
    all: createNumberList(),
    labelled: createNumberList(),
    fitted: createNumberList(),
    idsHash: () => `sha256:${hash.digest("hex")}`,
    standing({ releasedOn, firstDate, hotValue, maxima }) {
      const eligible = releasedOn <= lastEligible;
      const isLate = firstDate > dueOf(releasedOn);
      const isEngaged = minEngagement.every(({ atLeast }, i) => maxima[i]! >= atLeast);
      return { eligible, isLate, isEngaged, isLabelled: hotValue !== null && eligible && isEngaged && !(isLate && leftTruncated === "exclude") };
    },
    add(drama) {
      const { counts } = census;
      const { dramaId, hotValue } = drama;
      const standing = census.standing(drama);
      hash.update(idLine(dramaId, drama.firstDate, drama.lastDate, drama.rows));
      counts.rows += drama.rows;
      counts.dramas++;
      if (standing.eligible) counts.eligible++;
      if (standing.isLate && counts.leftTruncated++ < MAX_IDS) census.leftTruncatedIds.push(dramaId);
      if (!standing.isEngaged) counts.belowEngagement++;
      if (hotValue === null) counts.withoutPeak++;
      else census.all.push(hotValue);
      if (hotValue !== null && standing.isLabelled) {
        census.labelled.push(hotValue);
        if (plan.fitOn?.(dramaId) ?? true) {
          census.fitted.push(hotValue);
          counts.fitted++;
        }
      }
      return standing;
    },
  };
  return census;
}

/** Byte order of UTF-8. */
export function byBytes(a: string, b: string): number {
  // UTF-16 units order as bytes do, but for surrogates, which stand for higher code points than U+E000 … U+FFFF.
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    let [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x === y) continue;
    if (x >= 0xd800 && y >= 0xd800) [x, y] = [x >= 0xe000 ? x - 0x2000 : x + 0x2000, y >= 0xe000 ? y - 0x2000 : y + 0x2000];
    return x - y;
  }
  return a.length - b.length;
}

/** SHA-256 over `id, first date, last date, rows` of every drama by id: it does not depend on the order of rows. */
export function idsHash(dramas: readonly (readonly [dramaId: string, first: string, last: string, rows: number])[]): string {
  const hash = createHash("sha256");
  for (const drama of [...dramas].sort((a, b) => byBytes(a[0], b[0]))) hash.update(idLine(...drama));
  return `sha256:${hash.digest("hex")}`;
}
