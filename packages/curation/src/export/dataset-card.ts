import type { CurationConfig } from "../config.ts";
import { sumOf, type ByClass } from "./class-balance.ts";
import { LEFT_OUT_REASONS, type LeftOutReason } from "./left-out.ts";
import type { ExportManifest } from "./manifest.ts";
import type { CurationReport, FunnelStage } from "./report-types.ts";
import { markdownTable, type TextCell } from "./text-table.ts";

const CLASSES = ["all", "class 1", "class 2", "class 3", "class 4", "class 5"];
const FILES = {
  samples: "every SFT and GRPO drama that reached a decision, rejected ones with their verdicts",
  sft: "records with an answer to learn",
  grpo: "records with what rewards compare with: class, caption, comments",
  eval: "held-out dramas with their class; a teacher was asked nothing about them",
} as const;

const code = (text: string): string => `\`${text.replace(/[`\p{C}]/gu, "?")}\``;
const row = (name: string, counts: ByClass): TextCell[] => [name, sumOf(counts), ...counts];
const percent = (part: number, whole: number): string => (whole === 0 ? "–" : `${((100 * part) / whole).toFixed(1)} %`);
const funnel = (stages: readonly FunnelStage[]): string => markdownTable(["stage", ...CLASSES], stages.map(({ name, byClass }) => row(name, byClass)));

function frontMatter(manifest: ExportManifest, config: CurationConfig): string {
  const ending = manifest.sha256["sft.jsonl"] === undefined ? "parquet" : "jsonl";
  const sets = ["sft", "grpo", "eval"].map((set) => `  - config_name: ${set}\n    data_files: ${set}.${ending}`);
  return `---\npretty_name: Short dramas with class, caption and chain of thought\nlicense: other\nlanguage: [${config.language}]\nconfigs:\n${sets.join("\n")}\n---`;
}

function making(report: CurationReport, { templates }: ExportManifest, { rounds, filter, comments, select, split, export: { sftFormat } }: CurationConfig): string {
  const firstRound = report.confusion.firstRound;
  const [agreed, readable] = [firstRound.reduce((sum, counts, i) => sum + counts[i]!, 0), firstRound.reduce((sum, counts) => sum + sumOf(counts), 0)];
  return `Classes come from the audience's figures (hot value), not from anybody's judgement. Dramas were divided ${split.mode === "split-first" ? "before anything was asked" : "by what came out"} (seed ${code(split.seed)}); dramas that share a
title but for its season, a franchise or an episode stay in one split. The teacher ${code(report.model)} wrote a plot summary, then up to ${rounds.max} answers
per ${split.mode === "split-first" ? "SFT drama" : "drama"} (temperatures ${rounds.temperature.join(", ")}, top-p ${rounds.topP}; other bounds by class: ${Object.entries(rounds.perClassMax).map(([quality, most]) => `class ${quality} ${most}`).join(", ") || "none"}), without seeing the class. An answer stands when
it names the known class, and when a second look at the text (${filter.votes === 1 ? "one vote" : `most of ${filter.votes} votes`}) finds that strengths and weaknesses fit the score and that the events are in the summary. In the first
round the teacher named the known class in ${agreed} of ${readable} readable answers (${percent(agreed, readable)}). ${select.cotPerDrama === 1 ? "One valid answer" : `Up to ${select.cotPerDrama} valid answers`} per drama by a seeded hash, never by length.
SFT answers have the form ${sftFormat === "json" ? "of the cot prompt, one JSON object" : "of the grpo prompt, four parts in tags"}.

Of ${report.comments.chosen} comments (at most ${comments.max} a drama, most liked first), ${report.comments.kept} were labelled as being about the drama and kept, ${report.comments.dropped} dropped, ${report.comments.unresolved} stayed without a
label and were dropped${report.comments.waiting === 0 ? "" : `, ${report.comments.waiting} still wait`}.

Prompts, by version and hash of their text:

${templates.map((name) => `- ${code(name)}`).join("\n")}`;
}

/**
 * A dataset card in Markdown, for `README.md` beside the sets: what they are, how they were made, how many dramas were lost where, what to mind. It holds no id, no comment and no
 * figure that depends on time or retries.
 */
export function datasetCard(report: CurationReport, manifest: ExportManifest, config: CurationConfig): string {
  const { counts, leftOut, balance } = manifest;
  const files = Object.entries(FILES).map(([set, what]): TextCell[] => [set, counts[set] ?? 0, what]);
  const reasons = Object.entries(leftOut).map(([reason, n]): TextCell[] => [LEFT_OUT_REASONS[reason as LeftOutReason], n]);
  const dramas = (["sft", "grpo", "eval"] as const).map((split) => row(split, report.dramas[split]));
  const modes = { none: "No balancing.", cap: `Each class is cut to ${config.export.capFactor} times the smallest, in the order of a hash.`, weight: "Records carry weights that make the classes count alike." };
  return `${frontMatter(manifest, config)}

# Short dramas with class, caption and chain of thought

Run ${code(manifest.runId)}, generation ${manifest.generation}. Written by Dramascope from a ledger of a teacher's answers; the same ledger gives the same bytes.

## What is in it

${markdownTable(["set", "records", "what"], files)}

\`splits.json\` says where every drama went, \`manifest.json\` has the counts and the SHA-256 of each file. Videos are named by drama and episode and are not
part of the set. Records are in the order of the SHA-256 of their first id.

${markdownTable(["dramas", ...CLASSES], dramas)}

## How it was made

${making(report, manifest, config)}

## From dramas to records

Each stage counts the dramas that passed all stages before it.

SFT:

${funnel(report.sft)}

GRPO:

${funnel(report.grpo)}

What is not in a training set, by reason:

${reasons.length === 0 ? "Nothing." : markdownTable(["reason", "number"], reasons)}

## Balance of classes

${modes[balance.mode]}

${markdownTable(["SFT records", ...CLASSES], [row("before", balance.before), row("after", balance.after)])}

## Licence

None is given here. Dramas and comments belong to those who made them, and what a provider's terms allow to be done with its model's texts holds for captions and
chains of thought. Settle both before passing the set on, and state the licence here.

## Personal data

Comments were left on a platform by people. User ids were never stored; phone numbers, card numbers, addresses, links and account names were replaced before any
text was stored or sent. Replacing is done by patterns and misses what has no pattern, such as a name. A drama can be deleted from the ledger with everything that
belongs to it; export again afterwards.

## Known limits

- The class is popularity: exposure, date and promotion are in it. It is no judgement of a work.
- Dramas whose class the teacher never named are missing from SFT (see the stages above), so what is left may be the easier part.
- Captions, chains of thought and labels are a model's words. The filter looks at text alone and cannot see whether a scene is in the video.
- Comments are the most liked ones: what other viewers chose, not a sample of all.
`;
}
