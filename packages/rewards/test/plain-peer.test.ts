import { prepareReference, scoreCompletion, type RewardReference, type RewardSettings, type ScoredCompletion } from "@dramascope/rewards";
import { createRandom } from "@dramascope/schema";
import { expect, it } from "vitest";

/** The obvious implementation, one step at a time. */
const peer = (await import(new URL("../../../tools/bench/peers/rewards/plain.mjs", import.meta.url).href)) as { score: (completion: string, reference: RewardReference, options: RewardSettings) => ScoredCompletion };

const random = createRandom(21);
const pick = <T>(values: readonly T[]): T => values[random.below(values.length)]!;
const WORDS = ["great", "plot", "so", "handsome", "女主", "真美", "666", "ＡＢ", "é", "n\u0303", "ไทย", "한국", "__proto__", "-", "\u200d", "\ud83d", "\ufeff", "(", "x1"];
const text = (most: number): string => Array.from({ length: random.below(most + 1) }, () => pick(WORDS)).join(pick([" ", "", ", "]));
const list = (): unknown[] => Array.from({ length: random.below(9) }, () => (random.below(6) === 0 ? pick([null, 3, "", " ", ["a"]]) : text(6)));
const bullets = (): string => Array.from({ length: random.below(5) }, () => `${pick(["- ", "* ", "1. ", "12) ", "123、", "1234. ", "• ", "", " – "])}${text(4)}`).join("\n");
const block = (name: string, content: string): string => pick([`<${name}>${content}</${name}>`, `<${name}>${content}</${name}>`, `<${name}>${content}</${name}>`, `<${name}>${content}`, `${content}</${name}>`, content, `<${name}></${name}>`]);

function completion(): string {
  const comments = pick([JSON.stringify(list()), JSON.stringify(list()), bullets(), "{}", " 3 "]);
  const answer = pick(["4", " \\boxed{4} ", "\\boxed{4} \\boxed{ 4 }", "\\boxed{4} \\boxed{5}", "\\boxed{4", "４", "4.0", ""]);
  const parts = [block("caption", text(40)), block("comments", comments), block("think", text(5)), block("answer", answer)];
  if (random.below(8) === 0) parts.reverse();
  return `${pick(["", "", " \n", "x"])}${parts.join(pick(["", "\n", " y "]))}${pick(["", "<|im_end|>", " <|endoftext|>\n<|im_end|> ", "z"])}`;
}

const settings = (): RewardSettings => ({
  tokenizer: pick(["rouge-score", "mixed"]),
  format: pick(["strict", "lenient"]),
  allowBlank: pick([true, false]),
  commentsFormat: pick(["json", "json-or-bullets"]),
  commentsDenominator: pick(["matched", "expected", "max"]),
  expectedComments: pick([1, 4, 10]),
  dedupeComments: pick([true, false]),
  takeComments: pick([null, 1, 3]),
  requireComments: pick([null, null, 2, 4]),
  minCaptionTokens: pick([0, 5]),
  limits: { completionChars: pick([null, 200, 262_144]), captionTokens: pick([null, 20]), comments: pick([null, 4]), commentTokens: pick([null, 5]) },
});

it("equals the plain implementation on random completions under random options", () => {
  for (let n = 0; n < 4000; n++) {
    const reference: RewardReference = { score: pick([1, 4, 5]), caption: `a ${text(40)}`, comments: Array.from({ length: random.below(7) }, () => `b ${text(6)}`) };
    const [given, options] = [completion(), settings()];
    const ours = scoreCompletion(given, prepareReference(reference, options));
    const theirs = peer.score(given, reference, options);
    const what = JSON.stringify({ given, reference, options });
    expect([ours.format, ours.accuracy, ours.reasons], what).toEqual([theirs.format, theirs.accuracy, theirs.reasons]);
    for (const name of ["caption", "comments", "total"] as const) expect(Math.abs(ours[name]! - theirs[name]!), what).toBeLessThanOrEqual(1e-12);
  }
});
