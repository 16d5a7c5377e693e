import type { ChatRequest, Outcome, TeacherClient } from "@dramascope/chat-client";

/** An answer as a provider gives it. */
export const answered = (content: string): Outcome => ({ kind: "ok", content, finish: "stop", model: "m", ms: 1, usage: { promptTokens: 100, completionTokens: 50, source: "reported" } });

/** A good answer to any task; samples name a class. */
export function answerTo({ task }: ChatRequest, quality: number): Outcome {
  const think = "The opening hook in episode 1 at 0:10 is strong, the forged will in episode 2 is a credible turn, and the pace is flat at the end of episode 4.";
  const texts: Record<string, string> = {
    caption: "A baker loses a will and finds a brother, and the town watches.",
    cot: JSON.stringify({ think, answer: quality }),
    cot_filter: JSON.stringify({ reason: "fits", valid: true }),
    comment_filter: JSON.stringify({ labels: Array.from({ length: 20 }, (_, i) => ({ i, label: 1 })) }),
  };
  return answered(texts[task]!);
}

/** A teacher without a socket. */
export const clientOf = (call: (request: ChatRequest) => Outcome | Promise<Outcome>): TeacherClient => ({
  call: async (request) => call(request),
  capabilities: () => ({}) as ReturnType<TeacherClient["capabilities"]>,
  close: () => Promise.resolve(),
});
