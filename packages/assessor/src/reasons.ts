import type { AssessmentReason } from "@dramascope/schema";

const HEADING = /\b(strengths?|weakness(?:es)?|overall)\b\s*:?/giu;
const EPISODE = /\bepisode\s+(\d{1,2})\b/iu;
const CLOCK = /\b(\d{1,3}):([0-5]\d)\b/u;
const MAX_THINK = 20_000;
const MAX_REASONS = 40;

const kindOf = (heading: string): AssessmentReason["kind"] => {
  const first = heading[0]?.toLowerCase();
  return first === "s" ? "strength" : first === "w" ? "weakness" : "remark";
};

/** Where in the drama a remark points: "episode 3", "0:07". */
function placeOf(text: string): Pick<AssessmentReason, "episode" | "seconds"> {
  const episode = EPISODE.exec(text);
  const clock = CLOCK.exec(text);
  return {
    episode: episode && Number(episode[1]) >= 1 ? Number(episode[1]) : null,
    seconds: clock ? Number(clock[1]) * 60 + Number(clock[2]) : null,
  };
}

/**
 * Splits a chain of thought into its strengths, weaknesses and closing remark, each with the episode and time it names.
 * Text before the first heading is left out; an empty list ("none") gives nothing.
 */
export function reasonsOf(think: string): AssessmentReason[] {
  const text = think.slice(0, MAX_THINK);
  const headings = [...text.matchAll(HEADING)];
  const reasons = headings.flatMap((heading, index): AssessmentReason[] => {
    const start = heading.index + heading[0].length;
    const section = text.slice(start, headings[index + 1]?.index ?? text.length);
    const kind = kindOf(heading[0]);
    const items = kind === "remark" ? [section] : section.split(/[;\n•]|,\s|(?<=[.!?])\s/u);
    return items
      .map((item) => item.replace(/^[\s\-*:]+|[\s.;,]+$/gu, ""))
      .filter((item) => /[\p{L}\p{N}]/u.test(item) && item.toLowerCase() !== "none")
      .map((item) => ({ kind, text: item, ...placeOf(item) }));
  });
  return reasons.slice(0, MAX_REASONS);
}
