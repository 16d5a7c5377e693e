import type { ContentPart, Message } from "@dramascope/schema";
import { PromptError } from "./errors.ts";
import type { Template } from "./template.ts";

/** Layout of a drama's message. */
export interface DramaMessageOptions {
  /** Episodes shown, at least 1. */
  episodeCount: number;
  /** Episodes before or after the request. Default `before`. */
  mediaPosition?: "before" | "after";
  /** Text before each episode; nothing is added around it. Default `Episode k:`. */
  episodeLabel?: (episode: number) => string;
}

/**
 * One user message: every episode's label and frames, and the rendered request. Video `k` stands for the frames of episode `k + 1`.
 *
 * @throws PromptError `PROMPT_EPISODES` for a count below 1, `PROMPT_VARIABLE` as `render` does.
 */
export function dramaMessages(template: Template, variables: Readonly<Record<string, unknown>>, options: DramaMessageOptions): Message[] {
  const { episodeCount, mediaPosition = "before", episodeLabel = (episode) => `Episode ${episode}:` } = options;
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

/** The sentence that explains the red numbers in the frames. */
export function numberNote(clock: "continuous" | "episode"): string {
  return clock === "continuous"
    ? "The red number in the corner of each picture is the time in seconds from the start of the first episode."
    : "The red number in the corner of each picture is the time in seconds from the start of its episode.";
}

/** What a request about a drama's episodes is told. */
export interface EpisodeFacts {
  /** Episodes shown. */
  episodeCount: number;
  /** Language of the answer, by its English name. Default `English`. */
  language?: string;
  /** Meaning of the red numbers in the frames. Default `continuous`. */
  clock?: "continuous" | "episode";
  /** Spoken lines; text from outside. Default none. */
  transcript?: string;
}

/** Values for the variables that a request about episodes has, and for no others. */
export function episodeVariables(template: Template, facts: EpisodeFacts): Record<string, unknown> {
  const all = { episodeCount: facts.episodeCount, language: facts.language ?? "English", numberNote: numberNote(facts.clock ?? "continuous"), transcript: facts.transcript ?? "" };
  return Object.fromEntries(Object.entries(all).filter(([name]) => template.variables.includes(name)));
}
