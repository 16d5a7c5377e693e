import { join } from "node:path";
import { hashJson, sha256, sha256File, writeFileAtomically, writeJsonl, type CuratedSample, type Drama, type Message, type TrainingSample, type VideoReference } from "@dramascope/schema";
import { dramaMessages, episodeVariables, type Template } from "@dramascope/prompts";
import { episodeCountOf, loadTemplates, type DramaOutcome, type Templates } from "./curate-drama.ts";
import type { CurationConfig } from "./config.ts";
import { readOutcomes, type CurationInput } from "./run.ts";

/** What was written. */
export interface ExportManifest {
  /** Records of each file. */
  counts: Record<string, number>;
  /** SHA-256 of each file. */
  sha256: Record<string, string>;
  /** Dramas left out, by reason. */
  leftOut: Record<string, number>;
}

/** Options of {@link exportSets}. */
export interface ExportOptions {
  /** Path of an episode's frame manifest in the records; without it they name drama and episode alone. */
  manifestPath?: (drama: Drama, episode: number) => string;
}

/** Safe name of a drama's folder: its id where that is plain, else a hash. */
export function folderName(dramaId: string): string {
  return /^[\w-]{1,64}$/u.test(dramaId) ? dramaId : sha256(dramaId);
}

const messagesOf = (template: Template, drama: Drama): Message[] => {
  const episodeCount = episodeCountOf(drama);
  return dramaMessages(template, episodeVariables(template, { episodeCount }), { episodeCount });
};

function sampleOf({ drama, quality, split, caption, comments, think, rounds, stepKeys }: DramaOutcome, templates: Templates, model: string): CuratedSample {
  return {
    sampleId: `${split}-${drama.dramaId}`,
    dramaId: drama.dramaId,
    split,
    quality,
    episodes: drama.episodes.slice(0, 5).map(({ index, sha256: hash }) => ({ index, ...(hash === undefined ? {} : { sha256: hash }) })),
    caption,
    comments,
    think,
    provenance: { model, templates: Object.values(templates).map(({ id, version, hash }) => `${id}@${version}#${hash}`), rounds, stepKeys },
  };
}

/** The answer to learn: canonical JSON, or the four parts in tags. */
function targetOf(outcome: DramaOutcome, config: CurationConfig): string {
  const { think, quality, caption, comments } = outcome;
  if (config.export.sftFormat === "json") return `{"think": ${JSON.stringify(think)}, "answer": ${quality}}`;
  const list = comments.slice(0, config.export.answerComments).map((comment) => JSON.stringify(comment)).join(", ");
  return `<caption>${caption ?? ""}</caption>\n<comments>[${list}]</comments>\n<think>${think ?? ""}</think>\n<answer>\\boxed{${quality}}</answer>`;
}

/** Training records of outcomes; what is left out is counted by reason. */
export function trainingSets(outcomes: readonly DramaOutcome[], config: CurationConfig, templates: Templates, options: ExportOptions = {}): { sft: TrainingSample[]; grpo: TrainingSample[]; eval: TrainingSample[]; leftOut: Record<string, number> } {
  const leftOut: Record<string, number> = {};
  const drop = (reason: string): void => void (leftOut[reason] = (leftOut[reason] ?? 0) + 1);
  const sets = { sft: [] as TrainingSample[], grpo: [] as TrainingSample[], eval: [] as TrainingSample[] };
  for (const outcome of outcomes) {
    const { drama, quality, split, caption, comments, think } = outcome;
    const videos = Array.from({ length: episodeCountOf(drama) }, (_, i): VideoReference => ({ dramaId: drama.dramaId, episode: i + 1, ...(options.manifestPath ? { manifest: options.manifestPath(drama, i + 1) } : {}) }));
    const sampleId = `${split}-${drama.dramaId}`;
    if (split === "sft") {
      const needsComments = config.export.sftFormat === "tags" && comments.length === 0;
      if (think === null) drop("no accepted reasons");
      else if (needsComments) drop("no comments for an answer in tags");
      else sets.sft.push({ kind: "sft", sampleId, messages: messagesOf(config.export.sftFormat === "json" ? templates.cot : templates.grpo, drama), videos, target: targetOf(outcome, config) });
    } else if (split === "grpo" && caption === null) drop("no caption");
    else sets[split].push({ kind: "grpo", sampleId, messages: messagesOf(templates.grpo, drama), videos, quality, caption: caption ?? "", comments });
  }
  const order = (a: TrainingSample, b: TrainingSample): number => (sha256(a.sampleId) < sha256(b.sampleId) ? -1 : 1);
  for (const set of [sets.sft, sets.grpo, sets.eval]) set.sort(order);
  return { ...sets, leftOut };
}

/**
 * Writes `samples.jsonl`, `sft.jsonl`, `grpo.jsonl`, `eval.jsonl` and `manifest.json` from the ledger. The bytes depend on the ledger's
 * answers alone, not on time or on how often the run was killed.
 */
export async function exportSets(input: CurationInput, folder: string, options: ExportOptions = {}): Promise<ExportManifest> {
  const { config } = input;
  const templates = await loadTemplates(config);
  const outcomes = await readOutcomes(input);
  const sets = trainingSets(outcomes, config, templates, options);
  const samples = outcomes.filter(({ split }) => split !== "eval").map((outcome) => sampleOf(outcome, templates, config.teacher.model));
  samples.sort((a, b) => (sha256(a.sampleId) < sha256(b.sampleId) ? -1 : 1));
  const files: Record<string, readonly unknown[]> = { "samples.jsonl": samples, "sft.jsonl": sets.sft, "grpo.jsonl": sets.grpo, "eval.jsonl": sets.eval };
  const manifest: ExportManifest = { counts: {}, sha256: {}, leftOut: sets.leftOut };
  for (const [name, records] of Object.entries(files)) {
    manifest.counts[name] = await writeJsonl(join(folder, name), records);
    manifest.sha256[name] = await sha256File(join(folder, name));
  }
  await writeFileAtomically(join(folder, "manifest.json"), `${JSON.stringify({ ...manifest, split: hashJson(outcomes.map(({ drama, split }) => [drama.dramaId, split])) }, null, 2)}\n`);
  return manifest;
}
