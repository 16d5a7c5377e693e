import { createRandom, sha256, type Drama, type HotValueRecord, type Quality, type Random } from "@dramascope/schema";

const COUNT = 30;
const GENRES = ["romance", "revenge", "family", "time travel", "city life"];
const WHO = ["baker", "heiress", "surgeon", "driver", "singer", "gardener", "lawyer", "nurse", "painter", "teacher"];
const WHAT = ["a forged will", "a lost twin", "a wedding that never was", "a stolen recipe", "a debt of her father's", "a letter from the future"];
const PLACES = ["a harbour town", "the capital", "a mountain village", "an old hotel", "a hospital", "a night market"];
const TURNS = ["the rival turns out to be her brother", "he burns the contract before everybody", "the old servant speaks at last", "she walks out of her own wedding", "the recording plays in the hall"];
const LOOSE = ["they talk about the weather for a long while", "the same corridor is shown once more", "he comes back without a word of why", "nobody asks about the letter again"];
const PRAISE = ["What a turn at the end of episode %e!", "The %w made me cry", "Episode %e again and again", "I must know what happens with %t", "Such looks between the two"];
const BLAME = ["Nothing happens in episode %e", "The %w would never do that", "I skipped half of episode %e", "Where did %t go?", "Always the same room"];
const NOISE = ["first!", "signing in, day 12", "who is here from the advertisement?", "call me: 139 0000 1111", "write to fan@example.com", "👍👍👍"];

/** One drama's own facts. */
interface Plot {
  who: string;
  what: string;
  place: string;
  quality: Quality;
}

const pick = <T>(random: Random, list: readonly T[]): T => list[random.below(list.length)]!;

const fill = (text: string, { who, what }: Plot, random: Random): string => text.replace("%e", String(1 + random.below(5))).replace("%w", who).replace("%t", what);

/** Better dramas have more turns and fewer loose ends in what is said. */
function transcript(plot: Plot, random: Random): string {
  const lines = [1, 2, 3, 4, 5].map((episode) => `Episode ${episode}: the ${plot.who}, ${plot.what}, ${plot.place}; ${pick(random, random.below(5) < plot.quality ? TURNS : LOOSE)}.`);
  return lines.join("\n");
}

function commentsOf(plot: Plot, random: Random): Drama["comments"] {
  const texts = Array.from({ length: 6 + random.below(6) }, () => fill(pick(random, random.below(4) === 0 ? NOISE : random.below(5) < plot.quality ? PRAISE : BLAME), plot, random));
  return texts.map((text) => ({ text, likes: random.below(400), episode: 1 + random.below(5) }));
}

function label(dramaId: string, quality: Quality, random: Random): HotValueRecord {
  const score = (): number => Math.round(10 * (20 * quality - 10 + 8 * random.uniform())) / 10;
  const scores = { dailyAvgWatchTime: score(), dailyAvgUv: score(), favorites: score(), likes: score(), sixMonthWatchTime: score(), sixMonthUv: score(), comments: score(), search: score(), completionRate: score() };
  const hotValue = Object.values(scores).reduce((sum, one) => sum + one, 0) / 9;
  return { dramaId, hotValue: Math.round(1000 * hotValue) / 1000, quality, peakDate: "2026-06-30", scores, modelHash: sha256("made-up sample") };
}

/** Thirty made-up dramas, six of each class, without films: records, classes, and the classes as the teacher simulator takes them. The same seed gives the same bytes. */
export function sampleFiles(seed: number): [path: string, text: string][] {
  const random = createRandom(seed, { stream: 17 });
  const whos = random.shuffle(WHO.flatMap((who) => WHAT.map((what) => ({ who, what })))).slice(0, COUNT);
  const qualities = random.shuffle(Array.from({ length: COUNT }, (_, i) => (1 + (i % 5)) as Quality));
  const dramas: Drama[] = [];
  const labels: HotValueRecord[] = [];
  for (const [i, { who, what }] of whos.entries()) {
    const plot: Plot = { who, what, place: pick(random, PLACES), quality: qualities[i]! };
    const dramaId = `7300000000000000${String(101 + i)}`;
    dramas.push({ dramaId, title: `The ${who} and ${what}`, genre: pick(random, GENRES), releasedOn: "2026-01-15", episodes: [1, 2, 3, 4, 5].map((index) => ({ index })), comments: commentsOf(plot, random), transcript: transcript(plot, random) });
    labels.push(label(dramaId, plot.quality, random));
  }
  const lines = (records: readonly object[]): string => records.map((record) => `${JSON.stringify(record)}\n`).join("");
  return [
    ["data/dramas.jsonl", lines(dramas)],
    ["data/labels.jsonl", lines(labels)],
    ["data/truth.json", `${JSON.stringify(Object.fromEntries(labels.map(({ dramaId, quality }) => [dramaId, quality])), null, 2)}\n`],
  ];
}
