/** What can be seen and read of a drama of the synthetic world. Nothing here knows its quality. */

export const GENRES = ["revenge", "romance", "mystery", "family"] as const;
export type Genre = (typeof GENRES)[number];

export const TRAITS = ["fights", "cuts", "faces", "figures", "places", "end"] as const;
export type Trait = (typeof TRAITS)[number];

export const LEADS = ["red", "blue", "green", "white", "black", "purple"] as const;
export const PLACES = ["harbour", "palace", "office", "street", "garden", "clinic"] as const;

/** Low, middle, high. */
export type Level = 0 | 1 | 2;

/** A remark, noise or a hostile line of a viewer. */
export interface WorldComment {
  text: string;
  likes: number;
  kind: "remark" | "noise" | "hostile";
}

/** A drama as it shows itself. */
export interface WorldDrama {
  /** `w<seed>-<index>`; never a number. */
  dramaId: string;
  index: number;
  genre: Genre;
  levels: Record<Trait, Level>;
  /** Episodes of five in which the trait happens, number of places, 1 for an open end. */
  counts: Record<Trait, number>;
  leads: [string, string];
  /** Grey figures in the background, 0 … 2. */
  extras: number;
  /** Whether the trait happens, by episode. */
  happens: Record<"fights" | "cuts" | "faces" | "figures", boolean[]>;
  /** Place of each episode, into {@link PLACES}. */
  places: number[];
  comments: WorldComment[];
  frameSeed: number;
}

/** Audience figures of a drama on one day. */
export interface WorldIndicators {
  dailyAvgWatchTime: number;
  dailyAvgUv: number;
  favorites: number;
  likes: number;
  sixMonthWatchTime: number;
  sixMonthUv: number;
  comments: number;
  search: number;
  completionRate: number;
}

/** The random numbers that the world draws; the schema package's generator fits. */
export interface WorldRandom {
  next(): number;
  uniform(): number;
  below(n: number): number;
  normal(): number;
  shuffle<T>(items: T[]): T[];
}

/** Makes the stream of a seed. */
export type CreateRandom = (seed: number, options: { stream: number }) => WorldRandom;
