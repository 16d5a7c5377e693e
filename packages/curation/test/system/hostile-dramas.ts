import type { CurationConfigInput, LabelledDrama } from "@dramascope/curation";
import { HOSTILE_COMMENTS } from "../hostile-comments.ts";
import { dramas, settings } from "../simulator.ts";

/** Comments of well-meaning people. */
export const GOOD = ["Great twist", "那个眼神绝了", "first", "I cried in episode 3"];

/** Longest comment of all dramas but the first; 10 million characters take their time. */
const LONG = 100_000;

/** Dramas with comments of well-meaning people, and of others; the latter are liked more. */
export const hostileDramas = (count: number): LabelledDrama[] =>
  dramas(count).map((one, i) => {
    const others = HOSTILE_COMMENTS.map(([, text]) => text.slice(0, i === 0 ? text.length : LONG));
    return { ...one, drama: { ...one.drama, comments: [...GOOD, ...others].map((text, k) => ({ text, likes: k < GOOD.length ? 4 - k : 100 - k })) } };
  });

/** Dramas with the comments of well-meaning people alone. */
export const peacefulDramas = (count: number): LabelledDrama[] => dramas(count).map((one) => ({ ...one, drama: { ...one.drama, comments: GOOD.map((text, i) => ({ text, likes: 4 - i })) } }));

/** Settings that look at all of the comments. */
export const hostileSettings = (baseURL: string, workdir: string, shape: "indexed" | "keyed") =>
  ({ ...settings(baseURL), workdir, split: { seed: "s", evalPerClass: 0, sftSize: 9 }, comments: { max: 40, shape } }) satisfies CurationConfigInput;
