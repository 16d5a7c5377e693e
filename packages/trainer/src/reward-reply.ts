import type { RewardBreakdown } from "@dramascope/schema";
import { z } from "zod";
import { TrainerError } from "./errors.ts";

const part = z.number().nullable();

const scoreReply = z.looseObject({
  version: z.string().min(1),
  items: z.array(
    z.looseObject({
      id: z.string(),
      format: part,
      accuracy: part,
      caption: part,
      comments: part,
      total: part,
      reasons: z.array(z.string()).default([]),
      error: z.looseObject({ code: z.string(), message: z.string() }).nullish(),
    }),
  ),
});

/** What a server said of one request. */
export interface Reply {
  version: string;
  /** In the order of the request. */
  scores: RewardBreakdown[];
  /** Why an item has parts that are null; null where it has none. */
  faults: (string | null)[];
}

const invalid = (what: string, cause?: unknown): TrainerError => new TrainerError(`the reward server's answer cannot be used: ${what}`, { code: "REWARD_REPLY_INVALID", cause, hint: "Check that the server speaks POST /v1/score as dramascope rewards serve does." });

/**
 * Reads the answer to a request whose items are called `c0`, `c1` and so on.
 *
 * @throws TrainerError `REWARD_REPLY_INVALID` for another number or order of items, and for what is no number.
 */
export function readReply(text: string, count: number): Reply {
  let reply: z.infer<typeof scoreReply>;
  try {
    reply = scoreReply.parse(JSON.parse(text));
  } catch (error) {
    throw invalid(error instanceof z.ZodError ? z.prettifyError(error).split("\n").slice(0, 2).join(" ").slice(0, 300) : "it is not JSON", error);
  }
  const { version, items } = reply;
  if (items.length !== count) throw invalid(`it has ${items.length} items for ${count} completions`);
  const misplaced = items.findIndex(({ id }, i) => id !== `c${i}`);
  if (misplaced >= 0) throw invalid(`item ${misplaced} is not the one that was sent there`);
  return {
    version,
    scores: items.map(({ format, accuracy, caption, comments, total, reasons }): RewardBreakdown => ({ format, accuracy, caption, comments, total, reasons, version })),
    faults: items.map(({ format, accuracy, caption, comments, reasons, error }) => {
      if (![format, accuracy, caption, comments].includes(null)) return null;
      return error ? `${error.code.slice(0, 64)}: ${error.message.slice(0, 200)}` : reasons.join(", ").slice(0, 200) || "a part is null";
    }),
  };
}
