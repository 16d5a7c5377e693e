import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseTemplate, type Template } from "@dramascope/prompts";
import { parseRecord, writeFileAtomically } from "@dramascope/schema";
import { z } from "zod";
import { assessmentCalibration } from "./calibration.ts";
import { AssessorError } from "./errors.ts";

const FILE = "dramascope.json";

const profile = z.strictObject({
  format: z.literal("dramascope.profile"),
  /** Text of the prompt file that the model was trained with. */
  prompt: z.string().min(1),
  answer: z.enum(["tags", "json"]),
  /** Limits of the frame planner, as in training. */
  plan: z.strictObject({
    tokenBudget: z.int().exactOptional(),
    floorPairTokens: z.int().exactOptional(),
    maxPairTokens: z.int().exactOptional(),
    minFrameTokens: z.int().exactOptional(),
    maxFramesPerEpisode: z.int().exactOptional(),
    maxSecondsPerEpisode: z.int().exactOptional(),
  }),
  clock: z.enum(["continuous", "episode"]),
  timeBase: z.enum(["pinned", "true-fps"]),
  maxNewTokens: z.int().min(1),
  calibration: assessmentCalibration.optional(),
  /** What a reader of an assessment must know of this model. */
  notice: z.string().optional(),
});
/** How a model or adapter wants to be used: what it saw and was asked in training. It stands beside its weights as `dramascope.json`. */
export type Profile = z.infer<typeof profile>;

/** Writes a profile into a model or adapter folder. */
export async function writeProfile(folder: string, value: Profile): Promise<void> {
  await writeFileAtomically(join(folder, FILE), `${JSON.stringify(parseRecord(profile, value, FILE), null, 2)}\n`);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new AssessorError(`${path} cannot be read: ${(error as Error).message}`, { code: "PROFILE_INVALID", cause: error, hint: "Check the folder and its rights." });
  }
}

/**
 * Reads the profile of a model or adapter folder with its prompt; undefined when there is no such file.
 *
 * @throws AssessorError `PROFILE_INVALID` when the file is there and cannot be read or used.
 */
export async function readProfile(folder: string): Promise<(Profile & { template: Template }) | undefined> {
  const path = join(folder, FILE);
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  try {
    const value = parseRecord(profile, JSON.parse(text), path);
    return { ...value, template: parseTemplate(value.prompt, path) };
  } catch (error) {
    throw new AssessorError(`${path}: ${(error as Error).message}`, { code: "PROFILE_INVALID", cause: error, hint: "Remove the file and give prompt and frame limits as options, or write it anew." });
  }
}
