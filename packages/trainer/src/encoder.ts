import { framesToVisionItem, type ChatPart, type Prompt, type QwenVl, type RgbFrames, type VisionFeatures, type VisionItem } from "@dramascope/qwen-vl";
import type { OnProgress, TrainingSample, VideoReference } from "@dramascope/schema";
import { createFeatureCache, type FeatureCacheOptions } from "./feature-cache.ts";
import type { TimeBase } from "./run-manifest.ts";

/** Length of a sample's prompt. */
export interface SampleSize {
  /** All tokens. */
  tokens: number;
  /** Those that stand for frames. */
  visualTokens: number;
}

/** Turns a sample into a prompt with its vision features. The encoder keeps the features, until `trim` or `dispose`; do not dispose them. */
export interface SampleEncoder {
  /** Time base of its prompts; written with the run. Default `pinned`. */
  readonly timeBase?: TimeBase;
  encode(sample: TrainingSample): Promise<Prompt>;
  /** Looks at many samples at once, faster than one by one, and trims; what the cache has no room for is looked at again later. */
  warm(samples: readonly TrainingSample[], onProgress?: OnProgress): Promise<void>;
  /**
   * Begins to read the frames of samples that come next, while other work goes on: one sample after the other, until 256 MiB of patches are ahead; `encode` waits for its own and reads what was not
   * begun. Frames read ahead before are forgotten where they are not asked for again.
   */
  prefetch?(samples: readonly TrainingSample[]): void;
  /** Frees the features that are more than the cache may hold, the least recently used ones. Prompts from before are no good after it. Without it nothing is freed before the end. */
  trim?(): void;
  /** Loads a sample's frames and counts its tokens; computes nothing. Without it a run does not look at frames and lengths before it starts. */
  measure?(sample: TrainingSample): Promise<SampleSize>;
  /** Frees all features. */
  dispose(): void;
}

/** Options of {@link createSampleEncoder}. */
export interface EncoderOptions {
  model: QwenVl;
  /** Frames of one video reference. */
  loadFrames: (video: VideoReference, sample: TrainingSample) => Promise<RgbFrames>;
  /** Time base of the run. Default `pinned`. */
  timeBase?: TimeBase;
  /** Vision tokens that `trim` leaves; the least recently used sample goes first. Default 200000. */
  maxCachedTokens?: number;
  /** Keeps features on disk, too, so that the tower runs once for each sample's frames in all epochs and restarts; frames are still read. The tower must not be under training. Default none. */
  featureCache?: FeatureCacheOptions;
}

interface Cached {
  items: VisionItem[];
  features: VisionFeatures[];
  tokens: number;
}

/** Bytes of patches read ahead beyond which no further sample is begun; the one that reaches it is still kept. */
const MAX_AHEAD_BYTES = 256 * 2 ** 20;

const bytesOf = (items: readonly VisionItem[] = []): number => items.reduce((sum, { patches }) => sum + patches.byteLength, 0);

/** Samples whose videos go through the tower together. */
const WARM_SAMPLES = 12;

/** Makes an encoder that runs the frozen vision tower once a sample and remembers the features within a bound. */
export function createSampleEncoder({ model, loadFrames, timeBase = "pinned", maxCachedTokens = 200_000, featureCache }: EncoderOptions): SampleEncoder {
  const disk = featureCache && createFeatureCache(model.config, featureCache);
  const cache = new Map<string, Cached>();
  let ahead = new Map<string, Promise<VisionItem[] | undefined>>();
  let held = 0;
  const { patchSize, spatialMergeSize } = model.config.vision;

  const keyOf = (sample: TrainingSample): string => JSON.stringify(sample.videos);
  const itemsOf = (sample: TrainingSample): Promise<VisionItem[]> =>
    Promise.all(sample.videos.map(async (video) => framesToVisionItem(await loadFrames(video, sample), { patch: patchSize, merge: spatialMergeSize })));

  const keep = (key: string, full: readonly VisionItem[], features: VisionFeatures[]): Cached => {
    // The pixels are not needed again: only grids stay.
    const items = full.map((item): VisionItem => ({ ...item, patches: new Uint8Array(0) }));
    const made = { items, features, tokens: features.reduce((sum, one) => sum + one.tokens, 0) };
    cache.set(key, made);
    held += made.tokens;
    return made;
  };

  const trim = (): void => {
    for (const [oldest, { tokens, features }] of cache) {
      if (held <= maxCachedTokens) break;
      cache.delete(oldest);
      held -= tokens;
      features.forEach((one) => one.dispose());
    }
  };

  const look = async (sample: TrainingSample): Promise<Cached> => {
    const key = keyOf(sample);
    const known = cache.get(key);
    if (known) {
      cache.delete(key);
      cache.set(key, known);
      return known;
    }
    const read = ahead.get(key);
    ahead.delete(key);
    const items = (await read) ?? (await itemsOf(sample));
    if (items.length === 0) return keep(key, items, []);
    const entry = disk?.entry(items);
    const stored = await entry?.read();
    if (stored) return keep(key, items, stored);
    const features = await model.encodeVideos(items);
    await entry?.write(features);
    return keep(key, items, features);
  };

  const warm = async (samples: readonly TrainingSample[], onProgress?: OnProgress): Promise<void> => {
    const missing = [...new Map(samples.filter((sample) => !cache.has(keyOf(sample))).map((sample) => [keyOf(sample), sample])).values()];
    for (let start = 0; start < missing.length; start += WARM_SAMPLES) {
      const group = missing.slice(start, start + WARM_SAMPLES);
      const items = await Promise.all(group.map(itemsOf));
      const entries = items.map((own) => disk?.entry(own));
      const stored: (VisionFeatures[] | undefined)[] = [];
      for (const entry of entries) stored.push(await entry?.read());
      const features = await model.encodeVideos(items.filter((_, i) => !stored[i]).flat());
      for (const [i, sample] of group.entries()) {
        const own = stored[i] ?? features.splice(0, items[i]!.length);
        if (!stored[i]) await entries[i]?.write(own);
        keep(keyOf(sample), items[i]!, own);
      }
      trim();
      onProgress?.({ phase: "look at the frames", done: Math.min(missing.length, start + WARM_SAMPLES), total: missing.length });
    }
  };

  const prefetch = (samples: readonly TrainingSample[]): void => {
    const next = new Map<string, Promise<VisionItem[] | undefined>>();
    let bytes = 0;
    let last: Promise<unknown> = Promise.resolve();
    for (const sample of samples) {
      const key = keyOf(sample);
      if (cache.has(key) || next.has(key)) continue;
      const [begun, before] = [ahead.get(key), last];
      const read = async (): Promise<VisionItem[] | undefined> => {
        const known = await begun;
        if (known) return known;
        await before;
        return bytes >= MAX_AHEAD_BYTES || ahead !== next ? undefined : itemsOf(sample);
      };
      const items = read();
      next.set(key, items);
      // What cannot be read is said when the sample is asked for.
      last = Promise.all([before, items]).then(([, done]) => (bytes += bytesOf(done)), () => undefined);
    }
    ahead = next;
  };

  const prepare = (sample: TrainingSample, items: readonly VisionItem[]): Prompt => {
    const messages = sample.messages.map(({ role, content }) => ({
      role,
      content: typeof content === "string" ? content : content.map((part): ChatPart => (part.type === "text" ? part : { type: "video", item: items[part.video]! })),
    }));
    return model.prepare(messages, { timeBase });
  };

  return {
    timeBase,
    warm,
    prefetch,
    trim,
    measure: async (sample) => {
      const { ids } = prepare(sample, cache.get(keyOf(sample))?.items ?? (await itemsOf(sample)));
      const { videoTokenId, imageTokenId } = model.config;
      return { tokens: ids.length, visualTokens: ids.filter((id) => id === videoTokenId || id === imageTokenId).length };
    },
    encode: async (sample) => {
      const { items, features } = await look(sample);
      return { ...prepare(sample, items), features };
    },
    dispose: () => {
      for (const { features } of cache.values()) features.forEach((one) => one.dispose());
      cache.clear();
      ahead = new Map();
      held = 0;
    },
  };
}
