import type { Usage } from "./types.ts";

/** Prices of prompts up to a length; money per million tokens. */
export interface PriceBand {
  /** Longest prompt of this band in tokens. Default no limit. */
  upTo?: number | undefined;
  /** A million prompt tokens. */
  in: number;
  /** A million answer tokens. */
  out: number;
  /** Prompt tokens out of the provider's cache. Default `in`. */
  hit?: number | undefined;
}

/** What a model costs. */
export interface Prices {
  /** For example `USD`. */
  currency: string;
  /** Day on which the prices were read, YYYY-MM-DD. */
  date: string;
  /** At least one, by growing `upTo`. */
  bands: readonly PriceBand[];
}

/** What a call costs, in the currency of the prices: by the first band that its prompt fits into, else by the last one. */
export function costOf({ bands }: Prices, { promptTokens, completionTokens, cachedTokens = 0 }: Usage): number {
  const band = bands.find(({ upTo = Infinity }) => promptTokens <= upTo) ?? bands.at(-1);
  if (!band) return 0;
  const hits = Math.min(cachedTokens, promptTokens);
  return ((promptTokens - hits) * band.in + hits * (band.hit ?? band.in) + completionTokens * band.out) / 1e6;
}
