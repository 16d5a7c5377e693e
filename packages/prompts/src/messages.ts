import type { ContentPart, Message } from "@dramascope/schema";
import type { PromptLanguage } from "./builtin.ts";
import { PromptError } from "./errors.ts";
import type { Template } from "./template.ts";

interface Words {
  answerLanguage: string;
  numberNote: Record<"continuous" | "episode", string>;
  episodeLabel: (episode: number) => string;
}

/** What is said around the templates, in their languages. */
const WORDS: Readonly<Record<PromptLanguage, Words>> = {
  en: {
    answerLanguage: "English",
    numberNote: {
      continuous: "The red number in the corner of each picture is the time in seconds from the start of the first episode.",
      episode: "The red number in the corner of each picture is the time in seconds from the start of its episode.",
    },
    episodeLabel: (episode) => `Episode ${episode}:`,
  },
  zh: {
    answerLanguage: "中文",
    numberNote: { continuous: "每幅画面角落里的红色数字，是从第一集开头算起的秒数。", episode: "每幅画面角落里的红色数字，是从这一集开头算起的秒数。" },
    episodeLabel: (episode) => `第 ${episode} 集：`,
  },
};

const wordsOf = ({ language }: Template): Words => (/^zh(?:-|$)/iu.test(language) ? WORDS.zh : WORDS.en);

/** Layout of a drama's message. */
export interface DramaMessageOptions {
  /** Episodes shown, at least 1. */
  episodeCount: number;
  /** Episodes before or after the request. Default `before`. */
  mediaPosition?: "before" | "after";
  /** Text before each episode; nothing is added around it. Default `Episode k:`, or `第 k 集：` with a Chinese template. */
  episodeLabel?: (episode: number) => string;
}

/**
 * One user message: every episode's label and frames, and the rendered request, before or after them. Video `k` stands for the frames of episode `k + 1`.
 *
 * @throws PromptError `PROMPT_EPISODES` for a count below 1, `PROMPT_VARIABLE` as `render` does.
 */
export function dramaMessages(template: Template, variables: Readonly<Record<string, unknown>>, options: DramaMessageOptions): Message[] {
  const { episodeCount, mediaPosition = "before", episodeLabel = wordsOf(template).episodeLabel } = options;
  if (!Number.isInteger(episodeCount) || episodeCount < 1) {
    throw new PromptError(`episodeCount is ${String(episodeCount)}`, { code: "PROMPT_EPISODES", hint: "Show at least one episode." });
  }
  const episodes = Array.from({ length: episodeCount }, (_, video): ContentPart[] => [
    { type: "text", text: episodeLabel(video + 1) },
    { type: "video", video },
  ]).flat();
  const request: ContentPart = { type: "text", text: template.render(variables) };
  return [{ role: "user", content: mediaPosition === "before" ? [...episodes, request] : [request, ...episodes] }];
}

/** The sentence that explains the red numbers in the frames. Default language `en`. */
export function numberNote(clock: "continuous" | "episode", language: PromptLanguage = "en"): string {
  return WORDS[language].numberNote[clock];
}

/** What a request about a drama's episodes is told. */
export interface EpisodeFacts {
  /** Episodes shown. */
  episodeCount: number;
  /** Language of the answer, by its name in the template's language. Default the template's own: `English` or `中文`. */
  language?: string;
  /** Meaning of the red numbers in the frames; `none` where there are no numbers. Default `continuous`. */
  clock?: "continuous" | "episode" | "none";
  /** Spoken lines; text from outside. Default none. */
  transcript?: string;
}

/** Values for the variables that a request about episodes has, and for no others. */
export function episodeVariables(template: Template, facts: EpisodeFacts): Record<string, unknown> {
  const { episodeCount, language = wordsOf(template).answerLanguage, clock = "continuous", transcript = "" } = facts;
  const all = { episodeCount, language, numberNote: clock === "none" ? "" : wordsOf(template).numberNote[clock], transcript };
  return Object.fromEntries(Object.entries(all).filter(([name]) => template.variables.includes(name)));
}
