import { builtin, dramaMessages, episodeVariables, loadTemplate, type PromptId, type Template } from "@dramascope/prompts";
import type { ChatContent, ChatRequest, ChatRequestMessage } from "@dramascope/chat-client";
import { hashJson, type Drama, type Message, type Quality, type Split } from "@dramascope/schema";
import { chooseComments } from "./choose-comments.ts";
import { redact } from "./redact.ts";
import type { CurationConfig } from "./config.ts";
import type { StageKind } from "./ledger.ts";
import { readCot, readFilter, readLabels } from "./answers/read-answer.ts";

/** A drama with its class and its place. */
export interface PlacedDrama {
  drama: Drama;
  quality: Quality;
  split: Split;
}

/** A step to be answered: its identity, and how to ask. */
export interface Step {
  key: string;
  kind: StageKind;
  drama: string;
  round: number;
  request: () => Promise<ChatRequest>;
}

/** An answered step. */
export type StepAnswer = { ok: true; content: string; key: string } | { ok: false; state: "blocked" | "unusable" | "parked" | "missing"; code: string };

/** One sampling round, for the record. */
export interface RoundRecord {
  round: number;
  /** `valid`, or why it was not. */
  verdict: string;
  predicted: Quality | null;
}

/** What curation found for one drama. */
export interface DramaOutcome extends PlacedDrama {
  caption: string | null;
  /** Kept comments, redacted, most liked first. */
  comments: string[];
  /** Comments that stayed without a label. */
  unresolved: number;
  think: string | null;
  rounds: RoundRecord[];
  stepKeys: string[];
  /** A step waits for another run. */
  isParked: boolean;
  /** Codes of answers that were of no use. */
  problems: string[];
}

/** Prompts of a run by their task. */
export type Templates = Readonly<Record<PromptId, Template>>;

/** Reads the prompts of the settings. */
export async function loadTemplates(config: CurationConfig): Promise<Templates> {
  const ids: PromptId[] = ["caption", "cot", "cot_filter", "comment_filter", "grpo"];
  const loaded = await Promise.all(ids.map(async (id) => [id, config.prompts[id] === undefined ? builtin(id) : await loadTemplate(config.prompts[id])] as const));
  return Object.fromEntries(loaded) as Templates;
}

/** JPEGs of an episode's frames. */
export type LoadPictures = (drama: Drama, episode: number) => Promise<Uint8Array[]>;

/** What all dramas of a run share. */
export interface CurationSetting {
  config: CurationConfig;
  templates: Templates;
  loadPictures?: LoadPictures;
}

const EPISODES = 5;

/** Episodes that are looked at. */
export const episodeCountOf = (drama: Drama): number => Math.min(EPISODES, Math.max(1, drama.episodes.length));

async function wire(messages: readonly Message[], pictures: (video: number) => Promise<Uint8Array[]>): Promise<ChatRequestMessage[]> {
  return Promise.all(
    messages.map(async ({ content }): Promise<ChatRequestMessage> => {
      if (typeof content === "string") return { role: "user", content };
      const parts = await Promise.all(content.map(async (part): Promise<ChatContent[]> => (part.type === "text" ? [part] : (await pictures(part.video)).map((data) => ({ type: "jpeg", data })))));
      return { role: "user", content: parts.flat() };
    }),
  );
}

/** Everything about a drama that answers depend on; no address, no date. */
const contentHash = (drama: Drama): string =>
  hashJson({ dramaId: drama.dramaId, episodes: drama.episodes.slice(0, EPISODES).map(({ index, sha256 }) => ({ index, sha256 })), comments: drama.comments?.map(({ text, likes, episode }) => ({ text, likes, episode })) ?? [] });

/**
 * Asks everything about one drama, step after step. `ask` answers from the ledger or from the teacher; the same answers always lead to
 * the same outcome, so a killed run only has to be started again.
 */
export async function curateDrama({ drama, quality, split }: PlacedDrama, setting: CurationSetting, ask: (step: Step) => Promise<StepAnswer>): Promise<DramaOutcome> {
  const { config, templates, loadPictures } = setting;
  const { teacher, rounds } = config;
  const outcome: DramaOutcome = { drama, quality, split, caption: null, comments: [], unresolved: 0, think: null, rounds: [], stepKeys: [], isParked: false, problems: [] };
  const content = contentHash(drama);
  const episodeCount = episodeCountOf(drama);

  const step = (kind: StageKind, template: Template, upstream: unknown, sampling: { temperature: number; topP: number; round: number }, messages: () => Promise<ChatRequestMessage[]>): Step => ({
    key: hashJson({ kind, template: `${template.id}@${template.version}#${template.hash}`, model: teacher.model, sampling, content, upstream, maxTokens: teacher.maxTokens }),
    kind,
    drama: drama.dramaId,
    round: sampling.round,
    request: async () => ({
      task: template.id,
      messages: await messages(),
      temperature: sampling.temperature,
      topP: sampling.topP,
      maxTokens: teacher.maxTokens,
      ...(sampling.round > 0 ? { seed: sampling.round } : {}),
      trace: { drama: drama.dramaId, ...(sampling.round > 0 ? { round: sampling.round } : {}) },
    }),
  });
  const answer = async (one: Step): Promise<string | null> => {
    const result = await ask(one);
    if (result.ok) {
      outcome.stepKeys.push(result.key);
      return result.content;
    }
    if (result.state === "parked" || result.state === "missing") outcome.isParked = true;
    outcome.problems.push(result.code);
    return null;
  };
  const shown = (template: Template): Promise<ChatRequestMessage[]> =>
    wire(dramaMessages(template, episodeVariables(template, { episodeCount }), { episodeCount }), (video) => loadPictures?.(drama, video + 1) ?? Promise.resolve([]));
  const told = (template: Template, variables: Record<string, unknown>): (() => Promise<ChatRequestMessage[]>) => () => Promise.resolve([{ role: "user", content: template.render(variables) }]);

  const plain = { temperature: 0.2, topP: 1, round: 0 };
  const caption = await answer(step("caption", templates.caption, null, plain, () => shown(templates.caption)));
  outcome.caption = caption === null || caption.trim() === "" ? null : caption.trim();

  const chosen = chooseComments(drama.comments ?? [], config.comments.max).map(({ text }) => redact(text));
  if (chosen.length > 0) {
    const list = chosen.map((text, i) => ({ i, text }));
    const labels = await answer(step("comments", templates.comment_filter, hashJson(list), plain, told(templates.comment_filter, { commentsJson: list })));
    const parsed = labels === null ? null : readLabels({ content: labels }, chosen);
    if (parsed && !parsed.ok) outcome.problems.push(parsed.error);
    outcome.comments = parsed?.ok ? chosen.filter((_, i) => parsed.value.labels[i] === 1) : [];
    outcome.unresolved = parsed?.ok ? parsed.value.unresolved.length : chosen.length;
  }

  if (split !== "sft" || outcome.caption === null) return outcome;
  for (let round = 1; round <= rounds.max; round++) {
    const temperature = rounds.temperature[(round - 1) % rounds.temperature.length]!;
    const sampled = await answer(step("sample", templates.cot, null, { temperature, topP: rounds.topP, round }, () => shown(templates.cot)));
    if (sampled === null) {
      outcome.rounds.push({ round, verdict: "no-answer", predicted: null });
      if (outcome.isParked) break;
      continue;
    }
    const cot = readCot({ content: sampled });
    if (!cot.ok) {
      outcome.problems.push(cot.error);
      outcome.rounds.push({ round, verdict: cot.error, predicted: null });
      continue;
    }
    const { answer: predicted, think } = cot.value;
    // Rule 1 is free: the teacher judges only what agrees with the known class.
    if (predicted !== quality) {
      outcome.rounds.push({ round, verdict: "other-class", predicted });
      continue;
    }
    const variables = { groundTruth: quality, predicted, think, caption: outcome.caption };
    const judged = await answer(step("filter", templates.cot_filter, hashJson([outcome.stepKeys.at(-1), outcome.caption]), { ...plain, round }, told(templates.cot_filter, variables)));
    const verdict = judged === null ? null : readFilter({ content: judged });
    if (verdict && !verdict.ok) outcome.problems.push(verdict.error);
    const isValid = verdict?.ok === true && verdict.value.valid;
    outcome.rounds.push({ round, verdict: isValid ? "valid" : verdict?.ok ? "rejected" : "no-verdict", predicted });
    if (isValid) {
      outcome.think = think;
      break;
    }
    if (outcome.isParked) break;
  }
  return outcome;
}

