/** Draws dramas. The only file that knows a drama's latent quality and how strongly each trait shows it. */
import { GENRES, LEADS, TRAITS, type CreateRandom, type Genre, type Level, type Trait, type WorldComment, type WorldDrama, type WorldIndicators, type WorldRandom } from "./traits.ts";
import { HOSTILE, NOISE, remark } from "./language.ts";

/** Correlation of each trait with quality, by genre: the same fight is a strength in one and a weakness in another. */
export const TRAIT_STRENGTH: Readonly<Record<Genre, Readonly<Record<Trait, number>>>> = {
  revenge: { fights: 0.9, cuts: 0.85, faces: 0.45, figures: 0.6, places: 0.3, end: 0.75 },
  romance: { fights: -0.6, cuts: 0.3, faces: 0.92, figures: 0.5, places: 0.85, end: 0.6 },
  mystery: { fights: 0.4, cuts: -0.6, faces: 0.5, figures: 0.55, places: 0.9, end: 0.9 },
  family: { fights: -0.7, cuts: -0.45, faces: 0.92, figures: 0.8, places: 0.5, end: 0.3 },
};

const TERCILE = 0.4307;
const INDICATOR_MEANS = [5, 8, 6, 7, 9, 10, 4.5, 5.5];
const INDICATOR_SPREADS = [0.45, 0.8, 0.8, 0.9, 0.6, 0.8, 0.9, 0.8];
const INDICATOR_LINK = 0.93;
const INDICATOR_NAMES = ["dailyAvgWatchTime", "dailyAvgUv", "favorites", "likes", "sixMonthWatchTime", "sixMonthUv", "comments", "search"] as const;
const EPISODES = [0, 1, 2, 3, 4];

/** A drama with what nobody sees. */
export interface LatentDrama {
  drama: WorldDrama;
  /** Standard normal. */
  quality: number;
  indicators: WorldIndicators;
}

/** Which world is drawn. */
export interface WorldOptions {
  seed: number;
  count: number;
  createRandom: CreateRandom;
  /** Traits and remarks say nothing about quality. Default false. */
  neutral?: boolean;
}

const levelOf = (a: number): Level => (a < -TERCILE ? 0 : a < TERCILE ? 1 : 2);

function drawComments(random: WorldRandom, quality: number, neutral: boolean, levels: Record<Trait, Level>): WorldComment[] {
  const count = 8 + random.below(5);
  return Array.from({ length: count }, (): WorldComment => {
    const u = random.uniform();
    const likes = Math.floor(Math.exp(2 + 1.2 * random.normal()));
    if (u < 0.12) return { text: NOISE[random.below(NOISE.length)]!, likes, kind: "noise" };
    if (u < 0.17) return { text: HOSTILE[random.below(HOSTILE.length)]!, likes, kind: "hostile" };
    const isGood = random.uniform() < (neutral ? 0.5 : 1 / (1 + Math.exp(-2 * quality)));
    const trait = TRAITS[random.below(TRAITS.length)]!;
    const isGeneric = random.uniform() < 0.4;
    const level = levels[trait];
    return { text: isGeneric || level === 1 ? remark(isGood, random.below(4)) : remark(isGood, { trait, level }), likes, kind: "remark" };
  });
}

/** Drama `index` of a world; the order of draws is fixed. */
export function drawDrama(index: number, { seed, createRandom, neutral = false }: Omit<WorldOptions, "count">): LatentDrama {
  const random = createRandom(seed, { stream: index });
  const quality = random.normal();
  const genre = GENRES[random.below(4)]!;
  const levels = {} as Record<Trait, Level>;
  const counts = {} as Record<Trait, number>;
  for (const trait of TRAITS) {
    const strength = neutral ? 0 : TRAIT_STRENGTH[genre][trait];
    const a = strength * quality + Math.sqrt(1 - strength ** 2) * random.normal();
    if (trait === "end") {
      levels.end = a > 0 ? 2 : 0;
      counts.end = a > 0 ? 1 : 0;
      continue;
    }
    const level = levelOf(a);
    const b = random.below(2);
    levels[trait] = level;
    counts[trait] = trait === "places" ? [1 + b, 3, 4 + b][level]! : 2 * level + b;
  }
  const first = random.below(6);
  const drawn = random.below(5);
  const second = drawn >= first ? drawn + 1 : drawn;
  const extras = random.below(3);
  const chosen = (count: number): boolean[] => {
    const order = random.shuffle([...EPISODES]);
    const flags = new Array<boolean>(5).fill(false);
    for (const episode of order.slice(0, count)) flags[episode] = true;
    return flags;
  };
  const happens = { fights: chosen(counts.fights), cuts: chosen(counts.cuts), faces: chosen(counts.faces), figures: chosen(counts.figures) };
  const pool = random.shuffle([0, 1, 2, 3, 4, 5]).slice(0, counts.places);
  const order = random.shuffle([...EPISODES]);
  const places = new Array<number>(5).fill(0);
  order.forEach((episode, i) => (places[episode] = i < pool.length ? pool[i]! : pool[random.below(pool.length)]!));

  const z = (quality + 0.25 * random.normal()) / Math.sqrt(1.0625);
  const noisy = (): number => INDICATOR_LINK * z + Math.sqrt(1 - INDICATOR_LINK ** 2) * random.normal();
  const eight = INDICATOR_NAMES.map((name, i) => [name, Math.exp(INDICATOR_MEANS[i]! + INDICATOR_SPREADS[i]! * noisy())] as const);
  const indicators = { ...Object.fromEntries(eight), completionRate: 1 / (1 + Math.exp(-(-0.1 + 0.7 * noisy()))) } as unknown as WorldIndicators;
  const comments = drawComments(random, quality, neutral, levels);
  const frameSeed = random.below(2 ** 30);
  const dramaId = `w${seed}-${String(index).padStart(6, "0")}`;
  return { quality, indicators, drama: { dramaId, index, genre, levels, counts, leads: [LEADS[first]!, LEADS[second]!], extras, happens, places, comments, frameSeed } };
}

/** All dramas of a world, in order. */
export function drawWorld(options: WorldOptions): LatentDrama[] {
  return Array.from({ length: options.count }, (_, index) => drawDrama(index, options));
}
