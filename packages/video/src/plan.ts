import { VideoError } from "./errors.ts";
import { assertCount, assertPositive } from "./options.ts";

/** Limits of a plan. */
export interface PlanOptions {
  /** Visual tokens of all episodes together. Default 16384. */
  tokenBudget?: number;
  /** Frames are thinned out before a pair of frames gets fewer tokens than this. Default 64. */
  floorPairTokens?: number;
  /** Most tokens of a pair, however short the drama. Default 768. */
  maxPairTokens?: number;
  /** Tiny sources are enlarged to this many tokens. Default 16. */
  minFrameTokens?: number;
  /** Default 768. */
  maxFramesPerEpisode?: number;
  /** The rest of an episode is not looked at. Default 1800. */
  maxSecondsPerEpisode?: number;
}

/** What the planner needs of an episode. */
export interface EpisodeShape {
  /** Seconds. */
  end: number;
  /** Pixels, rotation and sample aspect applied. */
  displayWidth: number;
  /** Pixels, rotation and sample aspect applied. */
  displayHeight: number;
}

/** Frames of one episode. */
export interface EpisodePlan {
  /** Seconds looked at. */
  seconds: number;
  /** Different frames. */
  sampled: number;
  /** Frames with the repeated one, even. */
  frames: number;
  /** Pixels, a multiple of 28. */
  width: number;
  /** Pixels, a multiple of 28. */
  height: number;
  tokens: number;
  /** Seconds of the episodes before. */
  clockOffset: number;
}

/** Frames of a drama in one token budget. */
export interface DramaPlan {
  /** Seconds between frames, the same in all episodes. */
  strideSeconds: number;
  /** Most tokens of a pair of frames. */
  pairTokens: number;
  totalTokens: number;
  /** Seconds that a pair of frames stands for. */
  secondsPerGrid: number;
  episodes: EpisodePlan[];
}

/** Which seconds the numbers count. */
export type Clock = "continuous" | "episode";

const MAX_EPISODES = 5;
const CELL = 28;
const CELL_PIXELS = CELL * CELL;
const DEFAULTS: Required<PlanOptions> = { tokenBudget: 16384, floorPairTokens: 64, maxPairTokens: 768, minFrameTokens: 16, maxFramesPerEpisode: 768, maxSecondsPerEpisode: 1800 };

/** The options with their defaults. */
function completed(options: PlanOptions): Required<PlanOptions> {
  const all = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as (keyof PlanOptions)[]) {
    all[name] = options[name] ?? DEFAULTS[name];
    if (name === "maxSecondsPerEpisode") assertPositive(name, all[name]);
    else assertCount(name, all[name]);
  }
  return all;
}

/** Seconds of an episode that a plan looks at. */
export function maxSecondsOf(options: PlanOptions = {}): number {
  return completed(options).maxSecondsPerEpisode;
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

function frameSize({ displayWidth: w, displayHeight: h }: EpisodeShape, allowance: number, minTokens: number): [width: number, height: number] {
  if (!(w >= 1) || !(h >= 1) || Math.max(w, h) / Math.min(w, h) > 200) {
    throw new VideoError(`a picture of ${w} x ${h} pixels cannot be used`, { code: "VIDEO_DIMENSIONS", hint: "Use a video whose sides differ by at most 200 times." });
  }
  let height = Math.max(CELL, roundHalfEven(h / CELL) * CELL);
  let width = Math.max(CELL, roundHalfEven(w / CELL) * CELL);
  if (height * width > allowance * CELL_PIXELS) {
    const scale = Math.sqrt((h * w) / (allowance * CELL_PIXELS));
    height = Math.max(CELL, Math.floor(h / scale / CELL) * CELL);
    width = Math.max(CELL, Math.floor(w / scale / CELL) * CELL);
  } else if (height * width < minTokens * CELL_PIXELS) {
    const scale = Math.sqrt((minTokens * CELL_PIXELS) / (h * w));
    height = Math.ceil((h * scale) / CELL) * CELL;
    width = Math.ceil((w * scale) / CELL) * CELL;
  }
  if ((height / CELL) * (width / CELL) > allowance) {
    if (height >= width) height = Math.floor(allowance / (width / CELL)) * CELL;
    else width = Math.floor(allowance / (height / CELL)) * CELL;
  }
  return [width, height];
}

/**
 * Plans frame counts and sizes of up to five episodes in one token budget: frames are thinned out, evenly in all episodes, before
 * they become too small.
 *
 * @throws VideoError `PLAN_EPISODES`, `PLAN_BUDGET_TOO_SMALL`, `VIDEO_DIMENSIONS`, `VIDEO_OPTIONS_INVALID`.
 */
export function planDrama(episodes: readonly EpisodeShape[], options: PlanOptions = {}): DramaPlan {
  const { tokenBudget, floorPairTokens, maxPairTokens, minFrameTokens, maxFramesPerEpisode, maxSecondsPerEpisode } = completed(options);
  if (episodes.length < 1 || episodes.length > MAX_EPISODES) throw new VideoError(`${episodes.length} episodes were given`, { code: "PLAN_EPISODES", hint: "Give one to five episodes." });
  for (const { end, displayWidth, displayHeight } of episodes) for (const [name, value] of Object.entries({ end, displayWidth, displayHeight })) if (Number.isNaN(value)) assertPositive(name, value);
  const seconds = episodes.map(({ end }) => Math.max(1, Math.ceil(Math.min(end, maxSecondsPerEpisode) - 1e-6)));
  const longest = Math.max(...seconds);
  for (let stride = 1; stride <= longest; stride++) {
    const sampled = seconds.map((n) => Math.ceil(n / stride));
    const frames = sampled.map((n) => n + (n % 2));
    const pairs = frames.reduce((sum, n) => sum + n / 2, 0);
    if (pairs * floorPairTokens > tokenBudget || frames.some((n) => n > maxFramesPerEpisode)) continue;
    const pairTokens = Math.min(maxPairTokens, Math.floor(tokenBudget / pairs));
    let clockOffset = 0;
    const plans = episodes.map((episode, i): EpisodePlan => {
      const [width, height] = frameSize(episode, pairTokens, minFrameTokens);
      const plan = { seconds: seconds[i]!, sampled: sampled[i]!, frames: frames[i]!, width, height, tokens: (frames[i]! / 2) * (width / CELL) * (height / CELL), clockOffset };
      clockOffset += seconds[i]!;
      return plan;
    });
    return { strideSeconds: stride, pairTokens, totalTokens: plans.reduce((sum, plan) => sum + plan.tokens, 0), secondsPerGrid: 2 * stride, episodes: plans };
  }
  throw new VideoError(`${episodes.length} episodes do not fit ${tokenBudget} tokens with at least ${floorPairTokens} for a pair of frames`, { code: "PLAN_BUDGET_TOO_SMALL", hint: "Raise the token budget, lower floorPairTokens, or give fewer episodes." });
}

/** Number on each frame of an episode, the repeated one included. */
export function labelsOf(plan: DramaPlan, episode: number, clock: Clock): number[] {
  const { frames, sampled, clockOffset } = plan.episodes[episode]!;
  return Array.from({ length: frames }, (_, i) => (clock === "continuous" ? clockOffset : 0) + Math.min(i, sampled - 1) * plan.strideSeconds);
}
