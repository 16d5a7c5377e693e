import { preflags, type Preflag, type PreflagInput } from "./preflags.ts";

/** What {@link applyThreeRules} judges. */
export interface RuleInput extends PreflagInput {
  /** Known class of the drama. */
  truth: number;
  /** The teacher's second look, where there was one; `rule` where it named the broken one. */
  verdict?: { valid: boolean; rule?: 2 | 3 };
}

/** What the three rules say of a chain of thought. */
export interface RuleVerdict {
  /** Null while the teacher has to be asked. */
  accepted: boolean | null;
  /** Broken rule; `2|3` where the teacher did not say which. */
  rule: 1 | 2 | 3 | "2|3" | null;
  /** Who decided. */
  by: "code" | "teacher" | null;
  /** Whether a second look is worth its money. */
  askTeacher: boolean;
  /** Local remarks; they decide nothing here. */
  flags: Preflag[];
}

/**
 * The three rules of the paper: the score is the known class (rule 1, by code, free), text and score agree (2), and what the text tells is
 * in the drama (3), both judged by the teacher. A teacher's yes cannot undo rule 1.
 */
export function applyThreeRules({ truth, verdict, ...input }: RuleInput): RuleVerdict {
  const flags = preflags(input);
  if (input.predicted !== truth) return { accepted: false, rule: 1, by: "code", askTeacher: false, flags };
  if (verdict === undefined) return { accepted: null, rule: null, by: null, askTeacher: true, flags };
  return { accepted: verdict.valid, rule: verdict.valid ? null : (verdict.rule ?? "2|3"), by: "teacher", askTeacher: true, flags };
}
