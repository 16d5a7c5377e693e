/** A seeded stream of random numbers: the same seed and stream give the same numbers on every machine. */
export interface Random {
  /** Next 32-bit unsigned integer, 0 … 2³²−1. */
  next(): number;
  /** Next double in [0, 1), 53 random bits from two outputs. */
  uniform(): number;
  /** Next integer in 0 … n−1 without modulo bias; n is 1 … 2³². */
  below(n: number): number;
  /** Next standard normal number, by Box–Muller from two uniforms. */
  normal(): number;
  /** The array, shuffled in place (Fisher–Yates from the end). */
  shuffle<T>(items: T[]): T[];
}

/** Options of {@link createRandom}. */
export interface RandomOptions {
  /** Independent stream of the same seed, an unsigned 32-bit integer. Default 0. */
  stream?: number;
}

/**
 * The one random generator of Dramascope: sfc32 with state a = seed mod 2³², b = ⌊seed / 2³²⌋, c = stream, d = 1, the first
 * 16 outputs discarded.
 *
 * @param seed Non-negative integer below 2⁵³.
 */
export function createRandom(seed: number, options: RandomOptions = {}): Random {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`seed must be an integer from 0 to 2^53 - 1, got ${String(seed)}`);
  // Signed, for V8 keeps 32-bit signed integers in a closure without boxing them.
  let a = seed | 0;
  let b = Math.floor(seed / 2 ** 32) | 0;
  let c = (options.stream ?? 0) | 0;
  let d = 1;
  const next = (): number => {
    const t = (a + b + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + t) | 0;
    return t >>> 0;
  };
  for (let i = 0; i < 16; i++) next();
  const uniform = (): number => {
    const high = next() >>> 5;
    const low = next() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  };
  const below = (n: number): number => {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) throw new RangeError(`below(n) needs an integer from 1 to 2^32, got ${String(n)}`);
    const limit = Math.floor(2 ** 32 / n) * n;
    let x = next();
    while (x >= limit) x = next();
    return x % n;
  };
  const normal = (): number => {
    const u = 1 - uniform();
    const v = uniform();
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
  };
  const shuffle = <T>(items: T[]): T[] => {
    for (let i = items.length - 1; i > 0; i--) {
      const j = below(i + 1);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  };
  return { next, uniform, below, normal, shuffle };
}
