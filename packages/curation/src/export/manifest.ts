import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { sha256File } from "@dramascope/schema";
import { z } from "zod";
import { CurationError } from "../errors.ts";
import type { ByClass } from "./class-balance.ts";
import type { LeftOutReason } from "./left-out.ts";

/** What was written, in `manifest.json`. */
export interface ExportManifest {
  format: "dramascope.curation-export";
  version: 1;
  /** Follows from the settings and the seed of the split. */
  runId: string;
  /** Generation of answers. */
  generation: number;
  /** Prompts of the run as `id@version#hash`. */
  templates: string[];
  /** Records of each file of records. */
  counts: Record<string, number>;
  /** SHA-256 of each file but this one. */
  sha256: Record<string, string>;
  /** SHA-256 over id, split and group of every drama. */
  split: string;
  /** What is not in a training set, by reason: records where a drama could have given some, else dramas. */
  leftOut: Partial<Record<LeftOutReason, number>>;
  /** SFT records of each class 1 … 5, before and after balancing. */
  balance: { mode: "none" | "cap" | "weight"; before: ByClass; after: ByClass };
}

/** The dataset card. */
export const CARD = "README.md";

/** Text of `manifest.json`. */
export const manifestText = (manifest: ExportManifest): string => `${JSON.stringify(manifest, null, 2)}\n`;

/** What tells one export from another. */
const stamp = z.looseObject({ format: z.literal("dramascope.curation-export"), runId: z.string(), generation: z.int(), sha256: z.record(z.string(), z.string()) });

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new CurationError(`${folder} cannot be looked into: ${(error as Error).message}`, { code: "EXPORT_EXISTS", cause: error, hint: "Give the folder of an export, or one that is not there yet." });
  }
}

/**
 * Makes sure that a folder may be written to, or written anew: it is not there, empty, or an export of the same run and generation and nothing else.
 *
 * @throws CurationError `EXPORT_EXISTS` saying what is in it, `EXPORT_EDITED` when somebody wrote into the card.
 */
export async function checkTarget(folder: string, { runId, generation }: { runId: string; generation: number }): Promise<void> {
  const names = await namesIn(folder);
  if (names.length === 0) return;
  const refuse = (what: string): never => {
    throw new CurationError(`${folder} ${what}`, { code: "EXPORT_EXISTS", hint: "Nothing of it was touched. Give another folder with --out, or move this one away." });
  };
  if (!names.includes("manifest.json")) refuse(`holds files that are no export, among them ${JSON.stringify(names.sort()[0])}`);
  const text = await readFile(join(folder, "manifest.json"), "utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    refuse("has a manifest.json that is no JSON");
  }
  const found = stamp.safeParse(value);
  if (!found.success) return refuse("has a manifest.json that no export wrote");
  const { data } = found;
  if (data.runId !== runId || data.generation !== generation) refuse(`holds the export of generation ${data.generation}, run ${data.runId}; this is generation ${generation}, run ${runId}`);
  const other = names.filter((name) => name !== "manifest.json" && data.sha256[name] === undefined).sort();
  if (other.length > 0) refuse(`holds ${JSON.stringify(other[0])}, which is not of the export and would be lost`);
  // People are asked to write their licence into the card; other files are written anew when they are damaged.
  if (names.includes(CARD) && (await sha256File(join(folder, CARD))) !== data.sha256[CARD]) {
    throw new CurationError(`${join(folder, CARD)} was edited since it was written, and the edits would be lost`, { code: "EXPORT_EDITED", hint: "Nothing was touched. Give another folder with --out, or move this card away and take over what was written into it afterwards." });
  }
}

/** Whether a folder holds an export with these very bytes. */
export async function isSameExport(folder: string, manifest: ExportManifest): Promise<boolean> {
  const text = await readFile(join(folder, "manifest.json"), "utf8").catch(() => "");
  if (text !== manifestText(manifest)) return false;
  for (const [name, hash] of Object.entries(manifest.sha256)) if ((await sha256File(join(folder, name)).catch(() => "")) !== hash) return false;
  return true;
}
