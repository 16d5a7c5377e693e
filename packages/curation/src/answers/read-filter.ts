import { noteExtraKeys } from "./extra-keys.ts";
import { JsonObject } from "./json-value.ts";
import { loadAnswer, type RawAnswer } from "./load-answer.ts";
import { attempt, Refusal, type Parsed } from "./refusal.ts";

/** Verdict on a chain of thought. */
export interface FilterAnswer {
  valid: boolean;
  /** Empty where the answer gives none. */
  reason: string;
}

/** Reads a verdict on a chain of thought: `{"reason", "valid"}`, `valid` a boolean or one of the strings `true` and `false`. */
export function readFilter(raw: RawAnswer): Parsed<FilterAnswer> {
  return attempt((flags) => {
    const { value } = loadAnswer(raw, flags, "refused");
    if (!(value instanceof JsonObject)) throw new Refusal("NOT_OBJECT");
    let valid = value.get("valid");
    if (valid === undefined || valid === null) throw new Refusal("VALID_MISSING");
    if (typeof valid === "string" && /^\s*(?:true|false)\s*$/iu.test(valid)) {
      valid = valid.trim().toLowerCase() === "true";
      flags.add("coerced");
    }
    if (typeof valid !== "boolean") throw new Refusal("VALID_FORM");
    const given = value.get("reason");
    const reason = typeof given === "string" ? given : "";
    if (reason.trim() === "") flags.add("no_reason");
    noteExtraKeys(value, ["reason", "valid"], flags);
    return { value: { valid, reason } };
  });
}
