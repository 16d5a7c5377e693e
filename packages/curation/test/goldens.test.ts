import { readFileSync } from "node:fs";
import { chooseComments, parseAnswer, readLabels, redact, splitDramas, type DramaRow } from "@dramascope/curation";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const golden = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../../../test-fixtures/goldens/curation/${name}`, import.meta.url), "utf8")) as T;

interface Answer { id: string; task: "cot" | "cot_filter" | "comment_filter"; raw: string | null; finish?: string; refusal?: string; comments?: string[]; shape?: "indexed" | "keyed"; expect: { ok: object; flags: string[] } | { error: string } }

describe("answers", () => {
  const { cases } = golden<{ cases: Answer[] }>("answers.json");
  it.each(cases)("$id", ({ task, raw, finish, refusal, comments, shape, expect: expected }) => {
    const message = { content: raw, ...(finish === undefined ? {} : { finish }), ...(refusal === undefined ? {} : { refusal }) };
    const parsed = task === "comment_filter" ? readLabels(message, comments!, shape) : task === "cot" ? parseAnswer("cot", message) : parseAnswer("cot_filter", message);
    expect(parsed.ok ? { ok: parsed.value, flags: parsed.flags } : { error: parsed.error }).toEqual(expected);
  });

  it("never throws and never touches a prototype, whatever the text", () => {
    const texts = cases.map(({ raw }) => raw ?? "");
    fc.assert(
      fc.property(fc.constantFrom(...texts), fc.nat(), fc.nat(), fc.string(), (text, at, length, junk) => {
        const start = at % (text.length + 1);
        const content = text.slice(0, start) + junk + text.slice(start + (length % 10));
        parseAnswer("cot", { content });
        readLabels({ content }, ["a", "__proto__"], "keyed");
        expect(({} as Record<string, unknown>)["answer"]).toBeUndefined();
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    ['{"think": "5 of 5", "answer": 4}', "4"],
    ['{"answer": 4, "think": "the slap at 0:04"}', "4"],
    ['{"x": {"answer": 4}, "answer": "4 / 5", "think": "x"} and 4 more', "4"],
    ['\ufeff <think>4 {"answer": 4}</think>\n<think>4</think> Sure, 4 stars:\n```json\n{"answer":\t 4.00,"think":"x",}\n```\n4', "4"],
    ['[4] {"answer": 4, "think": "x"}', null],
    ['{"think": "😀 4", "answer": "\\u0034"}', '"\\u0034"'],
    ['{"answer": "４", "think": "x"}', '"４"'],
    ['{"answer": 40e-1, "think": "x"}', "40e-1"],
    ['{"answer": "04", "think": "x"}', '"04"'],
  ])("says where the score stands in %s", (content, score) => {
    const parsed = parseAnswer("cot", { content });
    expect(parsed.ok ? content.slice(...parsed.scoreAt) : null).toBe(score);
    if (parsed.ok) expect(parsed.scoreAt[0]).toBe(content.indexOf(score!, content.lastIndexOf('"answer"') + 8));
  });

  it.each(["[", '"', "{", "<think>", "```\n", ",}", " x"])("reads 200 kB of %s in linear time", (piece) => {
    expect(parseAnswer("cot", { content: piece.repeat(Math.floor(199_000 / piece.length)) }).ok).toBe(false);
  });
});

describe("comments", () => {
  it.each(golden<{ cases: { name: string; rows: { id: string; text: string; likes: number; episode: number }[]; expect: string[] }[] }>("comments.json").cases)("$name", ({ rows, expect: expected }) => {
    expect(chooseComments(rows).map(({ id }) => id)).toEqual(expected);
  });

  it("leave the house without phone numbers, addresses and accounts", () => {
    const clean = redact("call 138-0013-8000 or a.b@mail.example, see https://x.example/?q=1, vx: abc_12345 @someone \u202eevil 11010519491231002X");
    expect(clean).toBe("call [phone] or [mail], see [url] [account] [user] evil [id]");
    expect(redact("so good \ud83d")).toBe("so good \ufffd");
    expect(redact("Love it, 10/10 in episode 3!")).toBe("Love it, 10/10 in episode 3!");
  });
});

describe("splits", () => {
  const { rows, cases } = golden<{ rows: (Record<string, unknown> & { dramaId?: string; id?: string })[]; cases: { options: { seed: string; evalPerClass: number; sft: number }; expect: { groups: Record<string, string[]>; assignment: Record<string, string> } }[] }>("splits.json");
  const dramas = rows.map((row) => ({ ...row, dramaId: row.dramaId ?? row.id, franchiseId: row["franchiseId"] ?? row["franchise"] }) as unknown as DramaRow);
  it.each(cases)("$options", ({ options: { seed, evalPerClass, sft }, expect: expected }) => {
    const split = splitDramas(dramas, { seed, evalPerClass, sftSize: sft });
    expect(split.groups).toEqual(expected.groups);
    expect(split.assignment).toEqual(expected.assignment);
  });

  it("keeps what a previous manifest says", () => {
    const first = splitDramas(dramas.slice(0, 30), { seed: "a", evalPerClass: 3, sftSize: 10 });
    const second = splitDramas(dramas, { seed: "b", evalPerClass: 3, sftSize: 10 }, first);
    for (const [id, split] of Object.entries(first.assignment)) expect(second.assignment[id]).toBe(split);
  });
});
