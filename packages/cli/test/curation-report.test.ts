import type { ByClass, Confusion, CurationReport } from "@dramascope/curation";
import { describe, expect, it } from "vitest";
import { curationPage, type PageFacts } from "../src/curation-report.ts";

const ATTACKS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "</title><script>alert(1)</script>", "</style><script>alert(1)</script>", "</svg><svg onload=alert(1)>", "<!-- --><!doctype x>", "javascript:alert(1)", "&lt;script&gt;", "\u202eevil\u2066\u0000\ud800", "${alert(1)}{{alert(1)}}", "__proto__"];

const zero = (): ByClass => [0, 0, 0, 0, 0];
const confusion = (): Confusion => [[3, 1, 0, 0, 0], [0, 4, 0, 0, 0], zero(), [0, 0, 0, 5, 2], zero()];
const states = { planned: 2, leased: 0, done: 20, failed: 1, blocked: 1, parked: 1 };

/** A report with a word in each of its texts. */
function sample(word: string): CurationReport {
  const stage = (name: string, byClass: ByClass): CurationReport["sft"][number] => ({ name, count: byClass.reduce((a, b) => a + b, 0), byClass });
  const example = { dramaId: `7300 ${word}`, quality: 4 as const, round: 1, predicted: 5 as const, text: `text ${word}`, remark: `remark ${word}` };
  return {
    format: "dramascope.curation-report", version: 1, runId: `run ${word}`, generation: 1, model: `teacher ${word}`, isMoving: true,
    dramas: { eval: [1, 1, 1, 1, 1], sft: [4, 4, 0, 7, 1], grpo: zero() },
    sft: [stage("dramas", [4, 4, 0, 7, 1]), stage("captioned", [4, 4, 0, 7, 1]), stage("exported", [3, 4, 0, 5, 0])],
    grpo: [stage("dramas", zero()), stage("exported", zero())],
    comments: { chosen: 10, kept: 5, dropped: 3, unresolved: 1, waiting: 1 },
    verdicts: { valid: 12, mismatch: 3, rejected: 0, "no-verdict": 0, unusable: 1, blocked: 1 },
    rounds: [{ round: 1, n: 16, readable: 15, agreed: 12, valid: 12 }, { round: 2, n: 4, readable: 3, agreed: 0, valid: 0 }, { round: 3, n: 1, readable: 0, agreed: 0, valid: 0 }],
    confusion: { allRounds: confusion(), firstRound: confusion() },
    blocked: [{ kind: "caption", code: `code ${word}`, genre: `genre ${word}`, n: 3 }, { kind: "sample", code: `code ${word}`, genre: `genre ${word}`, n: 2 }, { kind: "sample", code: "other", genre: null, n: 9 }],
    blockedByClass: [14, 0, 0, 0, 0],
    unusable: [{ kind: "filter", code: `NO_JSON ${word}`, n: 1 }],
    preflags: [{ rule: `R2 ${word}`, n: 1 }],
    steps: { caption: states, sample: states, filter: states, comments: states },
    unusedSteps: 0,
    balance: { mode: "cap", before: [3, 4, 0, 5, 0], after: [3, 3, 0, 3, 0] },
    leftOut: { "over-class-cap": 3, "no-valid-round": 4 },
    cost: {
      currency: `USD ${word}`, spent: 0.5, spending: { settled: 0.4, unknown: 0.1, inFlight: 0, promptTokens: 1_234_567, completionTokens: 89_012, calls: 90, byKind: { caption: { calls: 90, cost: 0.5, retries: 7 }, [`task ${word}`]: { calls: 1, cost: 0, retries: 0 } }, byOutcome: { [`ok ${word}`]: 90 } },
      retries: 7, perSftRecord: 0.04, byClass: [{ quality: 1, cost: 0.2, records: 0, perRecord: null }],
    },
    examples: [{ reason: "mismatch", examples: [example] }, { reason: `blocked ${word}`, examples: [{ ...example, text: null, remark: null, predicted: null, round: 0 }] }],
  };
}

const facts = (word = ""): PageFacts => ({ origin: [["split", `split-first, seed s-1${word}`]] });
const tagsOf = (page: string): string[] => page.replace(/<style>[\s\S]*?<\/style>/u, "").match(/<[^>]*>/gu)!.map((tag) => /^<\/?[!a-z0-9-]*/iu.exec(tag)![0]);

describe("the page of a curation", () => {
  it("says first what came out, and warns of what is open, moving or missing", () => {
    const page = curationPage(sample(""), facts());
    for (const text of ["SFT records", "A run was going on", "12 planned steps have no answer yet, of them 4 put aside", "No SFT record of class 5.", "more records than the cap of the class", "Right in 80.0 %, n = 15 readable answers", "Pass rate by round", "rounds of fewer than 5 dramas are in the table alone", "round 1 · n = 16", "Rule 1: the teacher names", "comes with --disagree", "seed s-1", "Another class than the known one (rule 1) (1)", "teacher said 5", "0.0400"]) expect(page).toContain(text);
  });

  it("says what calls took, in money and in tokens", () => {
    const page = curationPage(sample("a"), facts());
    for (const figure of ["0.5000", "1,234,567", "89,012"]) expect(page).toContain(figure);
  });

  it("adds refusals of a code and genre up over the steps", () => {
    const cells = curationPage(sample(""), facts()).match(/<tr class=""><td class="left">(?:code |other)<\/td>.*?<\/tr>/gu)!.map((row) => row.match(/>[^<]+</gu)!.map((cell) => cell.slice(1, -1)));
    expect(cells).toEqual([["other", "(none given)", "9", "0", "9", "0", "0"], ["code ", "genre ", "5", "3", "2", "0", "0"]]);
  });

  it.each(ATTACKS)("shows %j as text wherever it stands", (attack) => {
    const page = curationPage(sample(attack), facts(attack));
    expect(tagsOf(page)).toEqual(tagsOf(curationPage(sample("x"), facts("x"))));
    expect(page).not.toMatch(/[\u0000\u202a-\u202e\u2066-\u2069]|\p{Surrogate}/u);
    expect(page).not.toMatch(/<[^>]* (?:on\w+|style)=|(?:href|src)="(?!#|data:)/u);
    expect(page).toContain("default-src &#39;none&#39;");
  });

  it("is the same page for the same figures", () => {
    expect(curationPage(sample("a"), facts())).toBe(curationPage(sample("a"), facts()));
  });
});
