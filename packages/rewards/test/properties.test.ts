import { createRandom } from "@dramascope/schema";
import { parseCompletion, prepareReference, rouge, scoreCompletion, scoreGroup, type RewardReference } from "@dramascope/rewards";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const words = fc.array(fc.constantFrom("a", "b", "c", "girl", "heir", "constructor", "__proto__"), { maxLength: 80 });

/** F of the longest common subsequence by the plain table. */
function plainRougeL(target: readonly string[], prediction: readonly string[]): number {
  let row = new Array<number>(prediction.length + 1).fill(0);
  for (const token of target) {
    const next = [0];
    prediction.forEach((other, j) => next.push(token === other ? row[j]! + 1 : Math.max(row[j + 1]!, next[j]!)));
    row = next;
  }
  const precision = row.at(-1)! / Math.max(prediction.length, 1);
  const recall = row.at(-1)! / Math.max(target.length, 1);
  return precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0;
}

describe("ROUGE of any tokens", () => {
  it("has the plain table's common subsequence", () => {
    fc.assert(
      fc.property(words, words, (target, prediction) => {
        const simple = (list: string[]): string[] => list.map((word) => word.replaceAll("_", ""));
        expect(rouge(simple(target).join(" "), simple(prediction).join(" ")).rougeL.fmeasure).toBe(plainRougeL(simple(target), simple(prediction)));
      }),
    );
  });

  it("has a long text's common subsequence", () => {
    const random = createRandom(7);
    for (const [length, vocabulary] of [[31, 2], [62, 5], [400, 3], [400, 300], [2000, 1500]] as const) {
      const text = (): string[] => Array.from({ length }, () => `w${Math.floor(random.uniform() * vocabulary)}`);
      const [a, b] = [text(), text()];
      expect(rouge(a.join(" "), b.join(" ")).rougeL.fmeasure).toBe(plainRougeL(a, b));
    }
  });

  it("keeps single tokens' score under permutation", () => {
    fc.assert(
      fc.property(words, words, (a, b) => {
        expect(rouge(a.join(" "), b.toSorted().join(" ")).rouge1).toEqual(rouge(a.toReversed().join(" "), b.join(" ")).rouge1);
      }),
    );
  });

  it("indexes a text of a hundred thousand different words", () => {
    const text = Array.from({ length: 100_000 }, (_, i) => `w${i}`).join(" ");
    expect(rouge(text, "w5 w6 w99999").rougeL.precision).toBe(1);
  });
});

const reference: RewardReference = { score: 4, caption: "女主 slaps the heir", comments: ["666 great", "女主真美"] };
const PIECES = ["<caption>", "</caption>", "<comments>", "</comments>", "<think>", "</think>", "<answer>", "</answer>", "\\boxed{4}", '["great", "女主"]', "[", '"', "\n", " ", "<|im_end|>", "slaps"];

describe("any text", () => {
  it("is scored within bounds: a million strings of random bytes and tags", () => {
    const random = createRandom(8);
    const prepared = [prepareReference(reference), prepareReference(reference, { tokenizer: "mixed", commentsFormat: "json-or-bullets", format: "lenient" })];
    const bytes = new Uint8Array(6);
    const isReward = (value: number | null): boolean => value !== null && value >= 0 && value <= 1 + 1e-12;
    let scored = 0;
    for (let n = 0; n < 1_000_000; n++) {
      let text = "";
      for (let k = random.below(10); k > 0; k--) {
        for (let i = 0; i < bytes.length; i++) bytes[i] = random.next();
        text += random.below(3) > 0 ? PIECES[random.below(PIECES.length)]! : Buffer.from(bytes.buffer).toString(n % 4 < 3 ? "latin1" : "utf8");
      }
      const { format, accuracy, caption, comments, total } = scoreCompletion(text, prepared[n % 2]!);
      if (isReward(format) && isReward(accuracy) && isReward(caption) && isReward(comments) && isReward(total)) scored++;
    }
    expect(scored).toBe(1_000_000);
  }, 300_000);

  it("gets the same rewards in any order of its group", () => {
    const prepared = prepareReference(reference);
    const texts = ["", "<answer>4</answer>", '<caption>slaps</caption><comments>["great"]</comments>', "<caption>the heir</caption>"];
    const forward = scoreGroup(texts, prepared);
    expect(scoreGroup(texts.toReversed(), prepared).toReversed()).toEqual(forward);
  });

  it("says where the digit of the score stands, whatever is around it", () => {
    const junk = fc.array(fc.oneof(fc.constantFrom("4", "5", "\\boxed{", "}", "<caption>", "</think>", "<answer>", "\u3000", "😀", "\ud800"), fc.string({ unit: "binary" })), { maxLength: 12 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(junk, fc.constantFrom("4", "\\boxed{4}", " \\boxed{\u30004\n}, that is \\boxed{4}"), junk, (before, answer, after) => {
        const head = `${before}<answer>`;
        const text = `${head}${answer}</answer>${after.replaceAll("</answer>", "")}`;
        const { answer: read, scoreAt } = parseCompletion(text);
        expect([read.score, scoreAt]).toEqual([4, [head.length + answer.indexOf("4"), head.length + answer.indexOf("4") + 1]]);
      }),
    );
  });

  it("cannot reach the prototype", () => {
    const text = '<comments>["__proto__", "constructor", "toString"]</comments><answer>\\boxed{__proto__}</answer>';
    expect(parseCompletion(text)).toMatchObject({ comments: ["__proto__", "constructor", "toString"], answer: { score: null } });
    expect(scoreCompletion(text, prepareReference({ score: 1, caption: "__proto__ x", comments: ["constructor"] })).comments).toBeGreaterThan(0);
  });
});
