import { loadSetting, parseCurationConfig, replayDrama, type CurationConfigInput, type CurationSetting, type StepSpec } from "@dramascope/curation";
import { createRandom } from "@dramascope/schema";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CAPTION, playThrough, recordWith, rowOf, saysClass, saysLabels, saysValid, THINK, type Ending } from "./step-answers.ts";

const settingWith = (more: Partial<CurationConfigInput> = {}): Promise<CurationSetting> =>
  loadSetting(parseCurationConfig({ teacher: { baseURL: "http://127.0.0.1:9/v1", model: "m" }, rounds: { max: 3, perClassMax: {} }, ...more }));

/** Answers by the name `kind`, `kind.round` or `kind.round.part`, the longest first. */
const script = (answers: Record<string, Ending>) => (step: StepSpec): Ending => {
  const { kind, round, part } = step;
  const found = answers[`${kind}.${round}.${part}`] ?? answers[`${kind}.${round}`] ?? answers[kind];
  if (!found) throw new Error(`nobody expected ${kind} ${round} ${part}`);
  return found;
};
const names = (steps: readonly StepSpec[]): string[] => steps.map(({ kind, round, part }) => `${kind} ${round} ${part}`);
const everything = { caption: CAPTION, comments: saysLabels(1, 0, 1), filter: saysValid(true) };

describe("a drama's steps", () => {
  it("begin with caption and comments, and go on with what follows", async () => {
    const setting = await settingWith();
    const record = recordWith();
    const first = replayDrama(setting, record, []);
    expect(names(first.missing)).toEqual(["caption 0 1", "comments 0 1"]);
    const captioned = [rowOf(first.missing[0]!, CAPTION)];
    expect(names(replayDrama(setting, record, captioned).missing)).toEqual(["comments 0 1", "sample 1 1"]);
    const { outcome, rows } = playThrough(setting, record, script({ ...everything, "sample.1": saysClass(4), "sample.2": saysClass(3) }));
    expect(names(rows)).toEqual(["caption 0 1", "comments 0 1", "sample 1 1", "sample 2 1", "filter 2 1"]);
    expect(outcome).toMatchObject({ decision: "kept", caption: "Two sisters fight over a hotel.", comments: ["What a twist!", "The aunt!"], unresolved: 0, problems: [], unused: [] });
    expect(outcome.rounds.map(({ round, verdict, predicted, temperature }) => [round, verdict, predicted, temperature])).toEqual([[1, "mismatch", 4, 0.7], [2, "valid", 3, 0.8]]);
    expect(outcome.selected).toEqual([outcome.rounds[1]]);
    expect(outcome.selected[0]).toMatchObject({ think: THINK, reason: "because", votes: [true], preflags: [], modelReturned: "teacher-sim-1" });
    expect(outcome.stepKeys).toHaveLength(5);
  });

  it("are caption and comments alone for GRPO, and none for the evaluation", async () => {
    const setting = await settingWith();
    const { outcome, rows } = playThrough(setting, recordWith({ split: "grpo" }), script(everything));
    expect([outcome.decision, rows.length]).toEqual(["kept", 2]);
    expect(replayDrama(setting, recordWith({ split: "eval" }), [])).toMatchObject({ missing: [], outcome: { decision: "kept" } });
  });

  it("have rounds for GRPO, too, where places are given by what comes out", async () => {
    const setting = await settingWith({ split: { mode: "yield-first" } });
    const { outcome } = playThrough(setting, recordWith({ split: "grpo" }), script({ ...everything, sample: saysClass(1) }));
    expect([outcome.decision, outcome.rounds.length]).toEqual(["kept", 3]);
  });

  it.each<[string, Ending, string, string]>([
    ["refused", { state: "blocked", code: "REFUSED" }, "blocked", "REFUSED"],
    ["cut off", { state: "failed", code: "TRUNCATED", content: "Two sis" }, "no-caption", "TRUNCATED"],
    ["blank but for marks", { content: " \u200b\n" }, "no-caption", "EMPTY"],
    ["half a thought", { content: "<think>hm" }, "no-caption", "TRUNCATED"],
    ["damaged", { content: "a \ufffd b" }, "no-caption", "BAD_ENCODING"],
  ])("end with a caption that is %s, and say so", async (_, ending, decision, code) => {
    const setting = await settingWith();
    for (const split of ["sft", "grpo"] as const) {
      const { outcome } = playThrough(setting, recordWith({ split }), script({ ...everything, caption: ending }));
      expect(outcome).toMatchObject({ decision, caption: null, rounds: [], problems: [{ kind: "caption", round: 0, code }] });
    }
  });

  it("wait for parked and leased ones", async () => {
    const setting = await settingWith();
    const { missing } = replayDrama(setting, recordWith(), []);
    for (const state of ["planned", "leased", "parked"] as const) {
      const replay = replayDrama(setting, recordWith(), missing.map((step) => rowOf(step, { state })));
      expect([replay.outcome.decision, names(replay.missing)]).toEqual(["pending", ["caption 0 1", "comments 0 1"]]);
    }
  });

  it("name those that no longer belong to the drama", async () => {
    const setting = await settingWith();
    const { rows } = playThrough(setting, recordWith(), script({ ...everything, sample: saysClass(3) }));
    const relabelled = replayDrama(setting, recordWith({ quality: 4 }), rows);
    expect(relabelled.outcome.unused).toEqual(rows.filter(({ kind }) => kind === "filter").map(({ key }) => key));
    expect(names(relabelled.missing)).toEqual(["sample 2 1"]);
    const edited = replayDrama(setting, recordWith({ comments: ["What a twist!"] }), rows);
    expect(names(edited.missing)).toEqual(["comments 0 1"]);
    expect(edited.outcome.caption).toBe(CAPTION.content);
  });
});

describe("rounds", () => {
  const rounds = async (more: Partial<CurationConfigInput>, answers: Record<string, Ending>, record = recordWith()) => playThrough(await settingWith(more), record, script({ ...everything, ...answers })).outcome;

  it.each<[string, Ending, string, string | undefined]>([
    ["another class", saysClass(5), "mismatch", undefined],
    ["no class", saysClass(7), "unusable", "SCORE_RANGE"],
    ["no JSON", { content: "five stars" }, "unusable", "NO_JSON"],
    ["nothing readable", { state: "failed", code: "DUPLICATE_KEY", content: "{}" }, "unusable", "DUPLICATE_KEY"],
    ["a refusal", { state: "blocked", code: "content_filter" }, "blocked", "content_filter"],
    ["an empty thought", saysClass(3, "\u200b "), "unusable", "THINK_MISSING"],
  ])("end with %s and go on", async (_, ending, verdict, code) => {
    const outcome = await rounds({}, { sample: saysClass(3), "sample.1": ending });
    expect(outcome.rounds.map((one) => [one.verdict, one.code])).toEqual([[verdict, code], ["valid", undefined]]);
    expect(outcome.problems.map((problem) => problem.code)).toEqual(code === undefined ? [] : [code]);
  });

  it.each<[string, Record<string, Ending>, string, boolean[], string | undefined]>([
    ["yes", { filter: saysValid(true) }, "valid", [true], undefined],
    ["no", { filter: saysValid(false) }, "rejected", [false], undefined],
    ["nothing readable", { filter: { content: "maybe" } }, "no-verdict", [], "NO_JSON"],
    ["a refusal", { filter: { state: "blocked", code: "REFUSED" } }, "no-verdict", [], "REFUSED"],
  ])("take the filter's %s", async (_, answers, verdict, votes, code) => {
    const outcome = await rounds({ rounds: { max: 1, perClassMax: {} } }, { sample: saysClass(3), ...answers });
    expect(outcome.rounds).toMatchObject([{ verdict, votes, ...(code === undefined ? {} : { code }) }]);
    expect(outcome.decision).toBe(verdict === "valid" ? "kept" : "no-valid-round");
  });

  it.each<[Ending[], string, number]>([
    [[saysValid(true), saysValid(true)], "valid", 2],
    [[saysValid(false), saysValid(false)], "rejected", 2],
    [[saysValid(true), saysValid(false), saysValid(true)], "valid", 3],
    [[saysValid(false), saysValid(true), saysValid(false)], "rejected", 3],
    [[{ content: "?" }, saysValid(true), saysValid(true)], "valid", 3],
    [[{ content: "?" }, { content: "?" }], "no-verdict", 2],
    [[{ content: "?" }, saysValid(false)], "rejected", 2],
  ])("ask for no more of three votes than a majority needs", async (votes, verdict, asked) => {
    const setting = await settingWith({ filter: { votes: 3 }, rounds: { max: 1, perClassMax: {} } });
    const { outcome, rows } = playThrough(setting, recordWith(), (step) => (step.kind === "filter" ? votes[step.part - 1]! : script({ ...everything, sample: saysClass(3) })(step)));
    expect([outcome.rounds[0]!.verdict, rows.filter(({ kind }) => kind === "filter").length]).toEqual([verdict, asked]);
  });

  it("drop an answer with a local flag only where the settings say so, and then without asking", async () => {
    const short = saysClass(3, "Nice.");
    expect((await rounds({}, { sample: short })).rounds).toMatchObject([{ verdict: "valid", preflags: ["R3_TOO_SHORT"] }]);
    const strict = await rounds({ filter: { preflagsReject: true } }, { sample: short });
    expect(strict.rounds).toHaveLength(3);
    expect(strict.rounds[0]).toMatchObject({ verdict: "rejected", code: "PREFLAG", votes: [], stepKeys: [expect.any(String) as string] });
  });

  it("are as many as the settings say", async () => {
    const count = async (more: CurationConfigInput["rounds"], record = recordWith(), sample = saysClass(record.quality)) => (await rounds({ rounds: { perClassMax: {}, ...more } }, { sample }, record)).rounds.length;
    expect(await count({ max: 4 })).toBe(1);
    expect(await count({ max: 4, min: 3 })).toBe(3);
    expect(await count({ max: 4, stopAfterValid: 2 })).toBe(2);
    expect(await count({ max: 4 }, recordWith(), saysClass(1))).toBe(4);
    expect(await count({ max: 4, perClassMax: { 3: 6 } }, recordWith(), saysClass(1))).toBe(6);
    expect(await count({ max: 4, perClassMax: { 3: 2 } }, recordWith(), saysClass(1))).toBe(2);
  });

  it("climb the ladder of temperatures, and begin again at its end", async () => {
    const outcome = await rounds({ rounds: { max: 5, perClassMax: {}, temperature: [0.5, 0.9] } }, { sample: saysClass(1) });
    expect(outcome.rounds.map(({ temperature }) => temperature)).toEqual([0.5, 0.9, 0.5, 0.9, 0.5]);
  });

  it("are chosen by a seeded hash, never by their length", async () => {
    const picks = new Set<number>();
    for (const seed of ["a", "b", "c", "d", "e", "f"]) {
      const outcome = await rounds({ rounds: { max: 3, min: 3, stopAfterValid: 3, perClassMax: {} }, select: { cotPerDrama: 1, seed } }, { sample: saysClass(3), "sample.2": saysClass(3, `${THINK} ${THINK}`) });
      expect(outcome.valid).toHaveLength(3);
      picks.add(outcome.selected[0]!.round);
    }
    expect(picks.size).toBeGreaterThan(1);
    const two = await rounds({ rounds: { max: 3, min: 3, perClassMax: {} }, select: { cotPerDrama: 2 } }, { sample: saysClass(3) });
    expect(two.selected).toHaveLength(2);
  });

  it("of a class wait for its gate where new dramas may cost too much", async () => {
    const setting = await settingWith({ rounds: { max: 4, perClassMax: {}, maxCostPerNewDrama: 0.01 } });
    const answer = script({ ...everything, sample: saysClass(1) });
    const gate = { generation: 1, quality: 3, cost: 0, newDramas: 0 } as const;
    const waiting = playThrough(setting, recordWith(), answer);
    expect(waiting.outcome).toMatchObject({ decision: "pending", waitsForClass: true });
    expect(waiting.outcome.rounds).toHaveLength(1);
    const gone = playThrough(setting, recordWith(), answer, { gates: [{ ...gate, round: 2, isOpen: true }, { ...gate, round: 3, isOpen: false }] });
    expect(gone.outcome).toMatchObject({ decision: "no-valid-round", waitsForClass: false });
    expect(gone.outcome.rounds).toHaveLength(2);
    const other = playThrough(setting, recordWith({ quality: 4 }), answer, { gates: [{ ...gate, round: 2, isOpen: true }] });
    expect(other.outcome.waitsForClass).toBe(true);
  });

  it("that were asked for count, also when one before them was asked again and is valid now", async () => {
    const setting = await settingWith();
    const { rows } = playThrough(setting, recordWith(), script({ ...everything, "sample.1": { state: "failed", code: "NO_JSON" }, "sample.2": saysClass(4), "sample.3": saysClass(3) }));
    const again = rows.map((row) => (row.kind === "sample" && row.round === 1 ? { ...row, ...saysClass(3), state: "done" as const, code: null } : row));
    const replay = replayDrama(setting, recordWith(), again);
    expect(names(replay.missing)).toEqual(["filter 1 1"]);
    const end = replayDrama(setting, recordWith(), [...again, rowOf(replay.missing[0]!, saysValid(true))]);
    expect(end.missing).toEqual([]);
    expect(end.outcome.rounds.map(({ verdict }) => verdict)).toEqual(["valid", "mismatch", "valid"]);
    expect(end.outcome.unused).toEqual([]);
  });
});

describe("comments", () => {
  it.each<[string, Record<string, Ending>, string[], number, string[]]>([
    ["all labelled", { "comments.0.1": saysLabels(1, 0, 1) }, ["What a twist!", "The aunt!"], 0, []],
    ["none kept", { "comments.0.1": saysLabels(0, 0, 0) }, [], 0, []],
    ["some missing, then found", { "comments.0.1": saysLabels(1, null, null), "comments.0.2": saysLabels(0, 1) }, ["What a twist!", "The aunt!"], 0, []],
    ["some missing for good", { "comments.0.1": saysLabels(1, null, null), "comments.0.2": saysLabels(null, 1) }, ["What a twist!", "The aunt!"], 1, []],
    ["contradictory, then found", { "comments.0.1": { content: '{"labels":[{"i":0,"label":1},{"i":0,"label":0},{"i":1,"label":0},{"i":2,"label":1}]}' }, "comments.0.2": saysLabels(1) }, ["What a twist!", "The aunt!"], 0, []],
    ["second answer of no use", { "comments.0.1": saysLabels(1, null, null), "comments.0.2": { state: "failed", code: "NO_JSON" } }, ["What a twist!"], 2, ["NO_JSON"]],
    ["first answer of no use", { "comments.0.1": { state: "failed", code: "LABELS_FORM" } }, [], 3, ["LABELS_FORM"]],
    ["refused", { "comments.0.1": { state: "blocked", code: "REFUSED" } }, [], 3, ["REFUSED"]],
  ])("%s", async (_, answers, kept, unresolved, codes) => {
    const { outcome } = playThrough(await settingWith(), recordWith({ split: "grpo" }), script({ caption: CAPTION, ...answers }));
    expect([outcome.comments, outcome.unresolved, outcome.problems.map(({ code }) => code), outcome.decision]).toEqual([kept, unresolved, codes, "kept"]);
  });

  it("are not asked about where there are none", async () => {
    const { outcome, rows } = playThrough(await settingWith(), recordWith({ split: "grpo", comments: [] }), script({ caption: CAPTION }));
    expect([rows.length, outcome.comments, outcome.unresolved]).toEqual([1, [], 0]);
  });
});

describe("a replay", () => {
  /** An answer that depends on the step alone. */
  const seeded = (seed: number) => (step: StepSpec): Ending => {
    const random = createRandom(seed, { stream: parseInt(step.key.slice(0, 8), 16) });
    const roll = random.uniform();
    if (roll < 0.08) return { state: "failed", code: "NO_JSON", content: "?" };
    if (roll < 0.12) return { state: "blocked", code: "REFUSED" };
    if (step.kind === "caption") return CAPTION;
    if (step.kind === "sample") return saysClass(1 + random.below(5));
    if (step.kind === "filter") return saysValid(random.uniform() < 0.5);
    return saysLabels(...Array.from({ length: step.part === 1 ? 3 : 2 }, () => ([0, 1, null] as const)[random.below(3)]!));
  };

  it("is the same whatever the order of answers, and asks for nothing more in the end", async () => {
    const settings = await Promise.all([settingWith(), settingWith({ filter: { votes: 3 }, rounds: { min: 2, max: 6, stopAfterValid: 2 } }), settingWith({ filter: { votes: 5, preflagsReject: true }, select: { cotPerDrama: 3 }, split: { mode: "yield-first" } })]);
    fc.assert(
      fc.property(fc.nat(9999), fc.nat(9999), fc.constantFrom(...settings), fc.constantFrom("sft" as const, "grpo" as const, "eval" as const), fc.constantFrom(1 as const, 3 as const, 5 as const), (seed, order, setting, split, quality) => {
        const record = recordWith({ split, quality });
        const plain = playThrough(setting, record, seeded(seed));
        const random = createRandom(order);
        const mixed = playThrough(setting, record, seeded(seed), { pick: (count) => random.below(count) });
        expect(mixed.outcome).toEqual(plain.outcome);
        expect(new Set(mixed.rows.map(({ key }) => key))).toEqual(new Set(plain.rows.map(({ key }) => key)));
        expect(replayDrama(setting, record, random.shuffle([...plain.rows]))).toEqual({ outcome: { ...plain.outcome, unused: [] }, missing: [] });
        expect(new Set(plain.outcome.stepKeys).size).toBe(plain.rows.length);
      }),
      { numRuns: 300 },
    );
  });

  it("never touches a prototype, whatever a drama and its comments are called", async () => {
    const setting = await settingWith({ comments: { shape: "keyed" } });
    const record = recordWith({ dramaId: "__proto__", split: "grpo", comments: ["__proto__", "constructor", "666"] });
    const { outcome } = playThrough(setting, record, script({ caption: CAPTION, comments: { content: '{"__proto__":{"label":1},"constructor":{"label":0},"666":{"label":1}}' } }));
    expect(outcome.comments).toEqual(["__proto__", "666"]);
    expect(({} as Record<string, unknown>)["label"]).toBeUndefined();
  });
});

describe("a step's key", () => {
  const keysOf = async (more: Partial<CurationConfigInput>, record = recordWith()): Promise<Map<string, string>> => {
    const { rows } = playThrough(await settingWith(more), record, script({ ...everything, sample: saysClass(1), "sample.3": saysClass(record.quality) }));
    return new Map(rows.map((row) => [names([row])[0]!, row.key]));
  };
  const changed = (a: Map<string, string>, b: Map<string, string>): string[] => [...a].filter(([name, key]) => b.has(name) && b.get(name) !== key).map(([name]) => name);

  it.each<[string, Partial<CurationConfigInput>, string[]]>([
    ["the model", { teacher: { baseURL: "http://127.0.0.1:9/v1", model: "other" } }, ["caption 0 1", "comments 0 1", "sample 1 1", "sample 2 1", "sample 3 1", "filter 3 1"]],
    ["the address, the key and the limits", { teacher: { baseURL: "http://example.com/v2", model: "m", apiKeyEnv: "OTHER", limits: { rpm: 7 } }, workdir: "elsewhere" }, []],
    ["the temperature of one round", { rounds: { max: 3, perClassMax: {}, temperature: [0.7, 0.9, 0.9, 1] } }, ["sample 2 1"]],
    ["more rounds and votes", { rounds: { max: 9, perClassMax: {} }, budget: { maxCost: 3 } }, []],
    ["the form of labels", { comments: { shape: "keyed" } }, ["comments 0 1"]],
    ["the frame plan", { frames: { tokenBudget: 1000 } }, ["caption 0 1", "sample 1 1", "sample 2 1", "sample 3 1", "filter 3 1"]],
  ])("changes with %s as it must", async (_, more, expected) => {
    expect(changed(await keysOf({}), await keysOf(more))).toEqual(expected);
  });

  it("of labels alone changes with the comments, that of the filter with the class, those of media with the episodes", async () => {
    const base = await keysOf({});
    expect(changed(base, await keysOf({}, recordWith({ comments: ["What a twist!", "second", "The aunt!"] })))).toEqual(["comments 0 1"]);
    const record = recordWith();
    const other = { ...record, drama: { ...record.drama, episodes: record.drama.episodes.map((one) => ({ ...one, sha256: "a".repeat(64), path: "/elsewhere" })) } };
    expect(changed(base, await keysOf({}, other))).toEqual(["caption 0 1", "sample 1 1", "sample 2 1", "sample 3 1", "filter 3 1"]);
    const moved = { ...record, drama: { ...record.drama, episodes: record.drama.episodes.map((one) => ({ ...one, path: "/elsewhere", url: "https://x.example/1" })) } };
    expect(changed(base, await keysOf({}, moved))).toEqual([]);
    expect(base.size).toBe(new Set(base.values()).size);
  });
});
