// Run with `node --disable-proto=throw`: prints what 10^5 seeded mutations of the golden answers came to.
import { createRandom } from "@dramascope/schema";
import { parseCase, type AnswerCase } from "./answer-case.ts";
import { golden } from "./golden.ts";

const PIECES = ["{", "}", "[", "]", '"', "\\", ",", ":", "\n", " ", "```", "```json\n", "<think>", "</think>", '"answer":4', '"label":1', '"__proto__":{', '"constructor":', "1e400", "-0", "4/5", "４", "\\ud83d", "\ud83d", "\ufffd", "\u0000", "null", "true"];
const prototypes = [Object.prototype, Array.prototype, String.prototype, Map.prototype];
const shapeOf = (): string => prototypes.map((prototype) => Reflect.ownKeys(prototype).map(String).join()).join("|");

const { cases } = golden<{ cases: AnswerCase[] }>("answers.json");
const random = createRandom(20261128);
const before = shapeOf();
const kinds = new Set<string>();
let read = 0;
for (let i = 0; i < 100_000; i++) {
  const one = cases[random.below(cases.length)]!;
  let text = one.raw ?? "";
  for (let edits = 1 + random.below(4); edits > 0; edits--) {
    const at = random.below(text.length + 1);
    const other = cases[random.below(cases.length)]!.raw ?? "";
    const from = random.below(other.length + 1);
    const insert = [PIECES[random.below(PIECES.length)]!, other.slice(from, from + random.below(20)), "", PIECES[random.below(PIECES.length)]!.repeat(random.below(40))][random.below(4)]!;
    text = text.slice(0, at) + insert + text.slice(at + random.below(6));
  }
  const parsed = parseCase(one, text);
  if (parsed.ok) {
    read++;
    const value = parsed.value as { answer?: number; labels?: (0 | 1 | null)[]; valid?: boolean };
    if (one.task === "cot" && ![1, 2, 3, 4, 5].includes(value.answer!)) throw new Error(`a score from nowhere: ${JSON.stringify(text)}`);
    if (one.task === "cot_filter" && typeof value.valid !== "boolean") throw new Error(`a verdict from nowhere: ${JSON.stringify(text)}`);
    if (one.task === "comment_filter" && value.labels?.length !== one.comments!.length) throw new Error(`labels from nowhere: ${JSON.stringify(text)}`);
  } else kinds.add(parsed.error);
}
process.stdout.write(JSON.stringify({ read, kinds: [...kinds].sort(), isChanged: shapeOf() !== before }));
