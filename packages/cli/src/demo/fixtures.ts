import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Random } from "@dramascope/schema";
import { CliError } from "../errors.ts";

/** A drama of the synthetic world, as far as the demo looks at it. */
interface WorldDrama {
  dramaId: string;
  genre: string;
  comments: { text: string; likes: number }[];
}

/** A drawn drama with its audience figures. */
export interface DrawnDrama {
  drama: WorldDrama;
  indicators: Record<"dailyAvgWatchTime" | "dailyAvgUv" | "favorites" | "likes" | "sixMonthWatchTime" | "sixMonthUv" | "comments" | "search" | "completionRate", number>;
}

type CreateRandom = (seed: number, options?: { stream?: number }) => Random;
type DrawNumber = (rgb: Uint8Array, width: number, height: number, label: number) => void;

/** The world's modules, models and clips. */
export interface DemoFixtures {
  root: string;
  drawWorld: (options: { seed: number; count: number; createRandom: CreateRandom }) => DrawnDrama[];
  splitByClass: (classes: readonly number[], sizes: { eval: number; sft: number; grpo: number }) => { eval: number[]; sft: number[]; grpo: number[] };
  captionOf: (drama: WorldDrama) => string;
  drawStampedFrames: (drama: WorldDrama, createRandom: CreateRandom, drawNumber: DrawNumber) => Uint8Array;
  frame: { width: number; height: number; perEpisode: number; bytes: number };
  filmDrama: (drama: WorldDrama, options: { ffmpeg: string; folder: string; createRandom: CreateRandom }) => Promise<string[]>;
  startTeacher: (dramas: readonly { drama: WorldDrama; quality: number }[]) => Promise<{ baseURL: string; close: () => Promise<void> }>;
  baseModel: string;
  prompts: { folder: string; cot: string; grpo: string };
  clips: string[];
}

/**
 * Finds the fixtures of the workspace.
 *
 * @throws CliError `FIXTURES_MISSING` where this package was installed alone: the world is not published.
 */
export async function loadFixtures(): Promise<DemoFixtures> {
  let root: string;
  try {
    root = dirname(createRequire(import.meta.url).resolve("@dramascope/test-fixtures/package.json"));
  } catch (error) {
    throw new CliError("the synthetic world of the demo is not installed", { code: "FIXTURES_MISSING", cause: error, hint: "Clone the repository and run npm run demo there." });
  }
  const load = async (name: string): Promise<Record<string, unknown>> => (await import(pathToFileURL(join(root, "world", name)).href)) as Record<string, unknown>;
  const [latent, language, frames, splits, mp4, teacher] = await Promise.all(["latent.ts", "language.ts", "frames.ts", "splits.ts", "mp4.ts", "teacher.ts"].map(load));
  return {
    root,
    ...(latent as Pick<DemoFixtures, "drawWorld">),
    ...(language as Pick<DemoFixtures, "captionOf">),
    ...(frames as Pick<DemoFixtures, "drawStampedFrames">),
    ...(splits as Pick<DemoFixtures, "splitByClass">),
    ...(mp4 as Pick<DemoFixtures, "filmDrama">),
    frame: { width: frames!["FRAME_WIDTH"] as number, height: frames!["FRAME_HEIGHT"] as number, perEpisode: frames!["FRAMES_PER_EPISODE"] as number, bytes: frames!["FRAME_BYTES"] as number },
    startTeacher: teacher!["startWorldTeacher"] as DemoFixtures["startTeacher"],
    baseModel: join(root, "models", "demo-base"),
    prompts: { folder: join(root, "world", "prompts"), cot: join(root, "world", "prompts", "cot.md"), grpo: join(root, "world", "prompts", "grpo.md") },
    clips: ["tears-of-steel-vertical-540x960.mp4", "tears-of-steel-battle-clip-medium.webm"].map((name) => join(root, "clips", name)),
  };
}
