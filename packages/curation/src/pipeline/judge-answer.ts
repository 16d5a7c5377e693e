import type { Answer } from "@dramascope/chat-client";
import { readFilter, readLabels, type AnswerCode } from "../answers/read-answer.ts";
import { redact } from "../redact.ts";
import type { Leased, StepResult } from "../ledger/step-types.ts";
import { readCaption } from "./read-caption.ts";
import { readSample } from "./read-sample.ts";
import { openTexts } from "./request.ts";
import type { CurationSetting } from "./setting.ts";

/** Why a text is no answer to a step; undefined when it is one. */
function refusalOf(setting: CurationSetting, leased: Leased, content: string): AnswerCode | undefined {
  const read = { caption: readCaption, sample: readSample, filter: readFilter, comments: () => readLabels({ content }, openTexts(setting, leased), setting.config.comments.shape) }[leased.step.kind];
  const parsed = read({ content });
  return parsed.ok ? undefined : parsed.error;
}

/** A teacher's answer as the ledger keeps it: a text that cannot be read is kept with the reason. */
export function resultOf(setting: CurationSetting, leased: Leased, answer: Extract<Answer, { kind: "ok" | "blocked" | "unusable" }>): StepResult {
  const { cost, attempts } = answer;
  if (answer.kind === "blocked") return { state: "blocked", content: null, code: answer.code, finish: null, model: null, attempts, cost };
  if (answer.kind === "unusable") {
    const { raw = null, finish = null, model = null, code } = answer;
    // Without a finish these are the provider's words about the request, which may repeat what is in it.
    return { state: "failed", content: raw !== null && finish === null ? redact(raw) : raw, code, finish, model, attempts, cost };
  }
  const { content, finish, model } = answer;
  const code = refusalOf(setting, leased, content);
  return { state: code === undefined ? "done" : "failed", content, code: code ?? null, finish, model, attempts, cost };
}
