import type { ContentPart, Message } from "@dramascope/schema";
import type { Template } from "./template.ts";

/** Layout of a drama's message. */
export interface DramaMessageOptions {
  /** Episodes shown. */
  episodeCount: number;
  /** Episodes before or after the request. Default `before`. */
  mediaPosition?: "before" | "after";
  /** Text before each episode; nothing is added around it. Default `Episode k:`. */
  episodeLabel?: (episode: number) => string;
}

/** One user message: every episode's label and frames, and the rendered request. */
export function dramaMessages(template: Template, variables: Readonly<Record<string, unknown>>, options: DramaMessageOptions): Message[] {
  const { episodeCount, mediaPosition = "before", episodeLabel = (episode) => `Episode ${episode}:` } = options;
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

/** What the built-in requests about a drama's episodes are told; only the variables that the template has. */
export function episodeVariables(template: Template, given: { episodeCount: number; language?: string; clock?: "continuous" | "episode"; transcript?: string }): Record<string, unknown> {
  const all = { episodeCount: given.episodeCount, language: given.language ?? "English", numberNote: numberNote(given.clock ?? "continuous"), transcript: given.transcript ?? "" };
  return Object.fromEntries(Object.entries(all).filter(([name]) => template.variables.includes(name)));
}
