import type { ChatContent, ChatRequest, ChatRequestMessage } from "@dramascope/chat-client";
import { dramaMessages, episodeVariables, type Template } from "@dramascope/prompts";
import type { Message } from "@dramascope/schema";
import { readLabels } from "../answers/read-answer.ts";
import type { DramaRecord } from "../ledger/drama-types.ts";
import type { Leased } from "../ledger/step-types.ts";
import { answerSchema } from "./answer-schemas.ts";
import type { EpisodeMedia } from "./media.ts";
import { readCaption } from "./read-caption.ts";
import { readSample } from "./read-sample.ts";
import { STEADY_SAMPLING, TASK_OF, type CurationSetting } from "./setting.ts";
import { dramaSteps, temperatureOf } from "./step-keys.ts";

/** Values of a request about a drama's episodes, by default about frames with numbers in them. */
export function episodeFacts({ drama }: DramaRecord, template: Template, clock: "continuous" | "none" = "continuous"): Record<string, unknown> {
  return episodeVariables(template, { episodeCount: Math.max(1, drama.episodes.length), clock, ...(drama.transcript === undefined ? {} : { transcript: drama.transcript }) });
}

/** Messages with what shows their episodes in place. */
const wire = (messages: readonly Message[], shown: readonly ChatContent[][]): ChatRequestMessage[] =>
  messages.map(({ content }) => ({ role: "user", content: typeof content === "string" ? content : content.flatMap((part): ChatContent[] => (part.type === "text" ? [part] : shown[part.video]!)) }));

/** The texts that an ask for labels is about: all comments, or those that the first answer left open. */
export function openTexts(setting: CurationSetting, { step, drama: record, answers }: Leased): string[] {
  const texts = record.drama.comments.map(({ text }) => text);
  if (step.part === 1) return texts;
  const { key } = dramaSteps(setting, record).comments(1, texts);
  const parsed = readLabels({ content: answers.find((row) => row.key === key)?.content ?? null }, texts, setting.config.comments.shape);
  return parsed.ok ? parsed.value.unresolved.map((i) => texts[i]!) : texts;
}

/**
 * The request of a step. The known class is shown to the filter alone, comments to their own filter alone.
 *
 * @param media Parts that show an episode, 1-based.
 */
export async function requestOf(setting: CurationSetting, leased: Leased, media: EpisodeMedia): Promise<ChatRequest> {
  const { step, drama: record, answers } = leased;
  const { config, templates } = setting;
  const { kind, round, part } = step;
  const task = TASK_OF[kind];
  const template = templates[task];
  const steps = dramaSteps(setting, record);
  const answerTo = (key: string): { content: string | null } => ({ content: answers.find((row) => row.key === key)?.content ?? null });
  const told = (variables: Record<string, unknown>): ChatRequestMessage[] => [{ role: "user", content: template.render(variables) }];

  let messages: ChatRequestMessage[];
  if (kind === "comments") {
    const texts = openTexts(setting, leased);
    messages = told({ commentsJson: config.comments.shape === "keyed" ? texts : texts.map((text, i) => ({ i, text })) });
  } else if (kind === "filter") {
    const caption = readCaption(answerTo(steps.caption.key));
    const sample = readSample(answerTo(steps.sample(round).key));
    if (!caption.ok || !sample.ok) throw new TypeError(`the filter of round ${round} was planned without a caption or a sample`);
    messages = told({ groundTruth: record.quality, predicted: sample.value.answer, think: sample.value.think, caption: caption.value });
  } else {
    const episodeCount = Math.max(1, record.drama.episodes.length);
    const shown = await Promise.all(Array.from({ length: episodeCount }, (_, i) => media(i + 1)));
    // Only our own frames have numbers in them.
    const clock = shown.flat().some(({ type }) => type === "jpeg") ? "continuous" : "none";
    messages = wire(dramaMessages(template, episodeFacts(record, template, clock), { episodeCount, mediaPosition: config.mediaPosition }), shown);
  }
  const schema = config.teacher.capabilities.jsonSchema ? answerSchema(task, config.comments.shape) : undefined;
  // Votes and second asks have to differ from the first, or a provider's cache would answer.
  const seed = kind === "sample" ? round : part > 1 ? part : undefined;
  return {
    task,
    model: config.teacher.model,
    messages,
    ...STEADY_SAMPLING,
    ...(kind === "sample" ? { temperature: temperatureOf(setting, round), topP: config.rounds.topP } : {}),
    maxTokens: config.teacher.maxTokens,
    ...(seed === undefined ? {} : { seed }),
    ...(schema ? { schema } : {}),
    trace: { drama: record.dramaId, ...(round > 0 ? { round } : {}), ...(part > 1 ? { item: String(part) } : {}), ...(kind === "comments" ? { shape: config.comments.shape } : {}) },
  };
}
