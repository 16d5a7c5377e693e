import { join } from "node:path";
import { curationReport, exportSets, openSqliteLedger, parseCurationConfig, runCuration, type CurationConfig, type CurationReport, type LabelledDrama } from "@dramascope/curation";
import { EQUAL_WEIGHTS, fitHotValue, serializeModel, writeScores, type HotValueFit } from "@dramascope/hot-value";
import { createRandom, readJsonl, trainingSample, writeFileAtomically, type Drama, type GrpoSample, type OnProgress, type Quality, type SftSample, type Split } from "@dramascope/schema";
import { drawNumber, encodeJpegs } from "@dramascope/video";
import type { DemoFixtures, DrawnDrama } from "./fixtures.ts";
import type { DemoPlan } from "./plan.ts";

const WORLD_SEED = 1;
const DATE = "2026-06-30";
const RELEASED = "2026-01-15";
const EPISODES = 5;
/** List prices of no provider in particular, so that the report's figure for money means something. */
const TEACHER_PRICES = { currency: "USD", date: "2026-11-01", bands: [{ in: 0.25, out: 2 }] };

/** The world's population with its classes and parts. */
export interface WorldData {
  fit: HotValueFit;
  /** Dramas with a part, by id. */
  dramas: Map<string, { drawn: DrawnDrama; quality: Quality; split: Split }>;
  /** Stamped frames of one drama, all episodes. */
  framesOf: (dramaId: string) => Uint8Array;
}

/** Draws the population, computes hot values and classes, and divides the dramas. */
export async function makeWorld(fixtures: DemoFixtures, plan: DemoPlan, out: string): Promise<WorldData> {
  const drawn = fixtures.drawWorld({ seed: WORLD_SEED, count: plan.population, createRandom });
  const rows = drawn.map(({ drama, indicators }) => ({ dramaId: drama.dramaId, date: DATE, releasedOn: RELEASED, ...indicators }));
  const fit = fitHotValue(rows, { weights: { ...EQUAL_WEIGHTS }, asOf: DATE });
  await writeFileAtomically(join(out, "hot-value", "model.json"), serializeModel(fit.model));
  await writeScores(join(out, "hot-value", "labels.csv"), fit.labels.map(({ rows: _rows, ...label }) => ({ ...label })));
  const byId = new Map(fit.labels.map((label) => [label.dramaId, label]));
  const classes = drawn.map(({ drama }) => byId.get(drama.dramaId)!.quality!);
  const parts = fixtures.splitByClass(classes, plan.perClass);
  const dramas: WorldData["dramas"] = new Map();
  for (const split of ["eval", "sft", "grpo"] as const) for (const i of parts[split]) dramas.set(drawn[i]!.drama.dramaId, { drawn: drawn[i]!, quality: classes[i]!, split });
  let last: { dramaId: string; frames: Uint8Array } | undefined;
  const framesOf = (dramaId: string): Uint8Array => {
    if (last?.dramaId !== dramaId) last = { dramaId, frames: fixtures.drawStampedFrames(dramas.get(dramaId)!.drawn.drama, createRandom, drawNumber) };
    return last.frames;
  };
  return { fit, dramas, framesOf };
}

/** Frames of one episode of a world drama. */
export function episodeFrames(fixtures: DemoFixtures, world: WorldData, dramaId: string, episode: number): { frames: Uint8Array; frameCount: number; width: number; height: number } {
  const { width, height, perEpisode, bytes } = fixtures.frame;
  return { frames: world.framesOf(dramaId).subarray((episode - 1) * perEpisode * bytes, episode * perEpisode * bytes), frameCount: perEpisode, width, height };
}

/** Training and evaluation records that curation exported. */
export interface CuratedData {
  /** From the ledger: the same whether or not the run was stopped in between. */
  report: CurationReport;
  /** Answers in tags, for the main rows. */
  sft: SftSample[];
  /** Answers in JSON, for the JSON row. */
  sftJson: SftSample[];
  grpo: GrpoSample[];
  eval: GrpoSample[];
}

async function readSamples<T>(path: string): Promise<T[]> {
  const samples: T[] = [];
  for await (const sample of readJsonl(path, trainingSample)) samples.push(sample as T);
  return samples;
}

/** Curates the world with its teacher over real HTTP into a ledger and exports the sets. */
export async function curateWorld(fixtures: DemoFixtures, world: WorldData, plan: DemoPlan, out: string, options: { signal: AbortSignal; onProgress: OnProgress }): Promise<CuratedData> {
  const list = [...world.dramas.values()];
  const teacher = await fixtures.startTeacher(list.map(({ drawn, quality }) => ({ drama: drawn.drama, quality })));
  const ledger = openSqliteLedger(join(out, "curation", "ledger.db"));
  try {
    const dramas = list.map(({ drawn, quality }): LabelledDrama => {
      const drama: Drama = { dramaId: drawn.drama.dramaId, genre: drawn.drama.genre, releasedOn: RELEASED, episodes: Array.from({ length: EPISODES }, (_, i) => ({ index: i + 1 })), comments: drawn.drama.comments.map(({ text, likes }) => ({ text, likes })) };
      return { drama, quality };
    });
    const config = parseCurationConfig({
      workdir: join(out, "curation"),
      teacher: { baseURL: teacher.baseURL, model: "world-teacher", capabilities: { metadata: true }, limits: { inFlight: 8 }, maxTokens: 512, prices: TEACHER_PRICES },
      split: { evalPerClass: plan.perClass.eval, sftSize: plan.perClass.sft * 5 },
      rounds: { max: 12, perClassMax: {} },
      comments: { answerComments: 3 },
      prompts: { dir: fixtures.prompts.folder },
      export: { sftFormat: "tags" },
    });
    const asJson: CurationConfig = { ...config, export: { ...config.export, sftFormat: "json" } };
    const pictures = new Map<string, Promise<Uint8Array[]>>();
    const loadPictures = ({ dramaId }: { dramaId: string }, episode: number): Promise<Uint8Array[]> => {
      const key = `${dramaId} ${episode}`;
      let made = pictures.get(key);
      if (!made) pictures.set(key, (made = encodeJpegs(episodeFrames(fixtures, world, dramaId, episode))));
      return made;
    };
    const previousSplit = { assignment: Object.fromEntries([...world.dramas].map(([id, { split }]) => [id, split])) };
    await runCuration({ config, dramas, ledger, previousSplit, loadPictures, journal: join(out, "curation", "calls.jsonl"), ...options });
    options.signal.throwIfAborted();
    await exportSets(ledger, config, join(out, "data"));
    await exportSets(ledger, asJson, join(out, "data-json"));
    return {
      report: await curationReport(ledger, config),
      sft: await readSamples<SftSample>(join(out, "data", "sft.jsonl")),
      sftJson: await readSamples<SftSample>(join(out, "data-json", "sft.jsonl")),
      grpo: await readSamples<GrpoSample>(join(out, "data", "grpo.jsonl")),
      eval: await readSamples<GrpoSample>(join(out, "data", "eval.jsonl")),
    };
  } finally {
    await ledger.close();
    await teacher.close();
  }
}
