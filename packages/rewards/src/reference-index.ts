import { scoreOf, type RougeScore } from "./rouge-score.ts";

/** Bits of one word of places: 31, so that a sum of two words and a carry stays within 32 bits. */
const BITS = 31;
const FULL = 0x7fffffff;

/** One text of a list: how often it holds the token or pair. */
interface Posting {
  text: number;
  count: number;
}

/** A posting with the places of the token in its text, one bit each. */
interface PlacedPosting extends Posting {
  /** Words that have a bit, ascending. */
  words: number[];
  bits: number[];
}

/** Lists of postings laid out flat: list `k` is `start[k]` … `start[k + 1]`. */
interface FlatPostings {
  start: Int32Array;
  text: Int32Array;
  count: Int32Array;
}

function flatten(lists: readonly Posting[][]): FlatPostings {
  const start = new Int32Array(lists.length + 1);
  for (let k = 0; k < lists.length; k++) start[k + 1] = start[k]! + lists[k]!.length;
  const text = new Int32Array(start[lists.length]!);
  const count = new Int32Array(text.length);
  let at = 0;
  for (const list of lists) {
    for (const one of list) {
      text[at] = one.text;
      count[at++] = one.count;
    }
  }
  return { start, text, count };
}

function addPlace(lists: PlacedPosting[][], id: number, text: number, place: number): void {
  const list = (lists[id] ??= []);
  let last = list.at(-1);
  if (last?.text !== text) list.push((last = { text, count: 0, words: [], bits: [] }));
  last.count++;
  const word = Math.floor(place / BITS);
  if (last.words.at(-1) !== word) {
    last.words.push(word);
    last.bits.push(0);
  }
  last.bits[last.bits.length - 1]! |= 1 << (place % BITS);
}

function addPair(lists: Posting[][], id: number, text: number): void {
  const list = (lists[id] ??= []);
  const last = list.at(-1);
  if (last?.text === text) last.count++;
  else list.push({ text, count: 1 });
}

function numberOf<K>(ids: Map<K, number>, key: K): number {
  const known = ids.get(key);
  if (known !== undefined) return known;
  ids.set(key, ids.size);
  return ids.size - 1;
}

function bitCount(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return (((v + (v >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

/** ROUGE-1, -2 and -L of one prediction against one of the texts. */
export interface PairScores {
  /** Single tokens. */
  rouge1: RougeScore;
  /** Neighbouring pairs of tokens. */
  rouge2: RougeScore;
  /** Longest common subsequence. */
  rougeL: RougeScore;
}

/**
 * Reference texts indexed together: token → texts, counts and places. One walk over a prediction compares it with all of them and
 * touches only the texts that share a token.
 */
export class ReferenceIndex {
  /** Tokens of each text. */
  readonly lengths: Int32Array;
  readonly #ids = new Map<string, number>();
  readonly #pairIds = new Map<number, number>();
  readonly #tokens: FlatPostings;
  readonly #pairs: FlatPostings;
  /** First entry of each posting in `#placeWord` and `#placeBits`. */
  readonly #placeStart: Int32Array;
  readonly #placeWord: Int32Array;
  readonly #placeBits: Int32Array;
  /** First word of each text in `#rows`. */
  readonly #rowStart: Int32Array;
  readonly #rows: Int32Array;
  readonly #hits1: Int32Array;
  readonly #hits2: Int32Array;
  readonly #common: Int32Array;
  readonly #used: Int32Array;
  readonly #usedPairs: Int32Array;

  constructor(texts: readonly (readonly string[])[]) {
    this.lengths = Int32Array.from(texts, (tokens) => tokens.length);
    const sequences = texts.map((tokens) => tokens.map((token) => numberOf(this.#ids, token)));
    const single: PlacedPosting[][] = [];
    const pair: Posting[][] = [];
    this.#rowStart = new Int32Array(texts.length + 1);
    sequences.forEach((ids, text) => {
      this.#rowStart[text + 1] = this.#rowStart[text]! + Math.ceil(ids.length / BITS);
      for (let place = 0; place < ids.length; place++) {
        addPlace(single, ids[place]!, text, place);
        if (place > 0) addPair(pair, numberOf(this.#pairIds, ids[place - 1]! * this.#ids.size + ids[place]!), text);
      }
    });
    this.#tokens = flatten(single);
    this.#pairs = flatten(pair);
    this.#placeStart = new Int32Array(this.#tokens.text.length + 1);
    let posting = 0;
    for (const list of single) for (const { words } of list) this.#placeStart[posting + 1] = this.#placeStart[posting++]! + words.length;
    this.#placeWord = new Int32Array(this.#placeStart.at(-1)!);
    this.#placeBits = new Int32Array(this.#placeWord.length);
    posting = 0;
    for (const list of single) {
      for (const { words, bits } of list) {
        this.#placeWord.set(words, this.#placeStart[posting]);
        this.#placeBits.set(bits, this.#placeStart[posting++]);
      }
    }
    this.#rows = new Int32Array(this.#rowStart.at(-1)!);
    this.#hits1 = new Int32Array(texts.length);
    this.#hits2 = new Int32Array(texts.length);
    this.#common = new Int32Array(texts.length);
    this.#used = new Int32Array(this.#ids.size);
    this.#usedPairs = new Int32Array(this.#pairIds.size);
  }

  /** Mean F of ROUGE-1, -2 and -L of a prediction against each text. */
  means(prediction: readonly string[]): number[] {
    this.#walk(prediction);
    return Array.from(this.lengths, (_, text) => {
      if (this.#hits1[text] === 0) return 0;
      const { rouge1, rouge2, rougeL } = this.#scores(text, prediction.length);
      return (rouge1.fmeasure + rouge2.fmeasure + rougeL.fmeasure) / 3;
    });
  }

  /** Precision, recall and F of a prediction against each text. */
  scores(prediction: readonly string[]): PairScores[] {
    this.#walk(prediction);
    return Array.from(this.lengths, (_, text) => this.#scores(text, prediction.length));
  }

  #scores(text: number, predicted: number): PairScores {
    const wanted = this.lengths[text]!;
    return {
      rouge1: scoreOf(this.#hits1[text]!, predicted, wanted),
      rouge2: scoreOf(this.#hits2[text]!, Math.max(predicted - 1, 0), Math.max(wanted - 1, 0)),
      rougeL: scoreOf(this.#common[text]!, predicted, wanted),
    };
  }

  /** Fills hits and common subsequences of all texts. */
  #walk(prediction: readonly string[]): void {
    this.#hits1.fill(0);
    this.#hits2.fill(0);
    this.#rows.fill(FULL);
    const ids = new Int32Array(prediction.length);
    for (let i = 0; i < prediction.length; i++) ids[i] = this.#ids.get(prediction[i]!) ?? -1;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (id < 0) continue;
      this.#meetToken(id);
      if (i > 0 && ids[i - 1]! >= 0) this.#meetPair(ids[i - 1]! * this.#ids.size + id);
    }
    for (const id of ids) if (id >= 0) this.#used[id] = 0;
    this.#usedPairs.fill(0);
    this.#countCommon();
  }

  /** One more token: counts it and moves the rows of Hyyrö's bit-parallel subsequence (2004), a word of 31 places at a time. */
  #meetToken(id: number): void {
    const { start, text, count } = this.#tokens;
    const rows = this.#rows;
    const seen = this.#used[id]!++;
    for (let p = start[id]!; p < start[id + 1]!; p++) {
      const which = text[p]!;
      if (seen < count[p]!) this.#hits1[which]!++;
      const end = this.#rowStart[which + 1]!;
      const placeEnd = this.#placeStart[p + 1]!;
      let place = this.#placeStart[p]!;
      let carry = 0;
      let next = this.#rowStart[which]! + this.#placeWord[place]!;
      for (let word = next; word < end; word++) {
        if (carry === 0) word = next;
        if (word === end) break;
        let bits = 0;
        if (word === next) {
          bits = this.#placeBits[place++]!;
          next = place < placeEnd ? this.#rowStart[which]! + this.#placeWord[place]! : end;
        }
        const v = rows[word]!;
        const u = v & bits;
        const sum = (v + u + carry) | 0;
        carry = sum >>> 31;
        rows[word] = ((sum & FULL) | (v & ~u)) & FULL;
      }
    }
  }

  #meetPair(key: number): void {
    const id = this.#pairIds.get(key);
    if (id === undefined) return;
    const { start, text, count } = this.#pairs;
    const seen = this.#usedPairs[id]!++;
    for (let p = start[id]!; p < start[id + 1]!; p++) if (seen < count[p]!) this.#hits2[text[p]!]!++;
  }

  /** Common length of each text: its places whose bit is 0. */
  #countCommon(): void {
    for (let text = 0; text < this.lengths.length; text++) {
      let common = 0;
      if (this.#hits1[text]! > 0) for (let w = this.#rowStart[text]!; w < this.#rowStart[text + 1]!; w++) common += bitCount(~this.#rows[w]! & FULL);
      this.#common[text] = common;
    }
  }
}
