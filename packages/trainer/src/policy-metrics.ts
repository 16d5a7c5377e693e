/** Sums over one call's completions; the tallies of several calls add up to that of all of them. */
export interface PolicyTally {
  /** Tokens that count. */
  tokens: number;
  /** What clipping is counted over: tokens, or completions where the ratio is of the sequence. */
  units: number;
  /** Sum of the KL estimates, nats, times the ratio where the loss takes it so. */
  kl: number;
  /** Sum of the entropies, nats. */
  entropy: number;
  /** Units with a ratio below 1 − epsilon and a negative advantage. */
  low: number;
  /** Units with a ratio above the upper bound and a positive advantage. */
  high: number;
  /** Least share of `low` of any completion. */
  lowMin: number;
  /** Largest share of `high` of any completion. */
  highMax: number;
}

/** What of the tally a loss has. */
export interface TallyContents {
  /** A KL term. */
  kl: boolean;
  /** Entropies. */
  entropy: boolean;
  /** How ratios are bounded: at both sides, by a cap alone (`cispo`), or smoothly (`sapo`), where nothing is counted. */
  clipping: "both" | "cap" | "none";
}

/** A tally of nothing. */
export function emptyTally(): PolicyTally {
  return { tokens: 0, units: 0, kl: 0, entropy: 0, low: 0, high: 0, lowMin: Number.POSITIVE_INFINITY, highMax: 0 };
}

/** Tally of two calls together. */
export function addTallies(a: PolicyTally, b: PolicyTally): PolicyTally {
  return {
    tokens: a.tokens + b.tokens,
    units: a.units + b.units,
    kl: a.kl + b.kl,
    entropy: a.entropy + b.entropy,
    low: a.low + b.low,
    high: a.high + b.high,
    lowMin: Math.min(a.lowMin, b.lowMin),
    highMax: Math.max(a.highMax, b.highMax),
  };
}

/** Means under TRL's names: `kl` and `entropy` in nats a token, `clip_ratio/…` as shares, `cispo_clip_ratio` for `cispo`; none of them of a tally without completions. */
export function policyMetrics(tally: PolicyTally, { kl, entropy, clipping }: TallyContents): Record<string, number> {
  if (tally.units === 0) return {};
  const tokens = Math.max(1, tally.tokens);
  const metrics: Record<string, number> = {};
  if (kl) metrics["kl"] = tally.kl / tokens;
  if (entropy) metrics["entropy"] = tally.entropy / tokens;
  if (clipping === "cap") metrics["cispo_clip_ratio"] = tally.high / tally.units;
  if (clipping === "both") {
    metrics["clip_ratio/low_mean"] = tally.low / tally.units;
    metrics["clip_ratio/low_min"] = tally.lowMin;
    metrics["clip_ratio/high_mean"] = tally.high / tally.units;
    metrics["clip_ratio/high_max"] = tally.highMax;
    metrics["clip_ratio/region_mean"] = (tally.low + tally.high) / tally.units;
  }
  return metrics;
}
