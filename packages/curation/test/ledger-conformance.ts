import { setTimeout as wait } from "node:timers/promises";
import { sha256 } from "@dramascope/schema";
import { CurationError, type Leased, type LeaseRequest, type StepLedger, type StepResult, type StepRow, type StepSpec } from "@dramascope/curation";
import { afterEach, describe, expect, test } from "vitest";
import { all, done, nothing, record, step } from "./ledger-steps.ts";

/** Opens an empty ledger. */
export type OpenLedger = (options?: { maxCost?: number }) => Promise<StepLedger>;

const attempt = (key: string, estimate: number) => ({ key, attempt: 1, task: "cot", drama: "d1", estimate, at: 1_000 });
const settled = (cost: number) => ({ cost, outcome: "ok", isUnknown: false, at: 2_000, usage: { promptTokens: 10, completionTokens: 5, source: "reported" as const } });

/** What every ledger does. */
export function describeLedger(name: string, open: OpenLedger): void {
  describe(`${name} ledger`, () => {
    const opened: StepLedger[] = [];
    afterEach(async () => {
      for (const ledger of opened.splice(0)) await ledger.close();
    });
    const empty = async (options?: { maxCost?: number }): Promise<StepLedger> => {
      const ledger = await open(options);
      opened.push(ledger);
      return ledger;
    };
    /** A ledger with dramas and their captions planned in generation 1. */
    const planned = async (...ids: string[]): Promise<StepLedger> => {
      const ledger = await empty();
      await ledger.openGeneration("first", { model: "a" });
      await ledger.putDramas(ids.map((id) => record(id)));
      await ledger.plan(ids.map((id) => step(id)), 1);
      return ledger;
    };
    const lease = (ledger: StepLedger, change: Partial<LeaseRequest> = {}): Promise<Leased[]> => ledger.lease({ owner: "w1", max: 10, ttlMs: 60_000, generation: 1, ...change });
    const commit = (ledger: StepLedger, { step: { key, fence, owner } }: Leased, result: StepResult, next: (answers: StepRow[]) => StepSpec[] = nothing) => ledger.commit({ key, fence, owner: owner!, result, next });
    const rows = (ledger: StepLedger): Promise<StepRow[]> => all(ledger.stream({}));
    const eventually = async <T>(ask: () => Promise<T[]>): Promise<T[]> => {
      for (let i = 0; i < 500; i++) {
        const found = await ask();
        if (found.length > 0) return found;
        await wait(10);
      }
      return [];
    };

    test("gives one identity one generation", async () => {
      const ledger = await empty();
      const first = await ledger.openGeneration("a", { model: "m", nested: { list: [1, null] } });
      expect(first).toMatchObject({ generation: 1, identity: "a", settings: { model: "m", nested: { list: [1, null] } } });
      expect(new Date(first.startedAt).toISOString()).toBe(first.startedAt);
      expect(await ledger.openGeneration("b", null)).toMatchObject({ generation: 2 });
      expect(await ledger.openGeneration("a", { model: "other" })).toEqual(first);
      expect((await ledger.generations()).map(({ identity }) => identity)).toEqual(["a", "b"]);
    });

    test("stores dramas and what changes about them, in the order of their hashes", async () => {
      const ledger = await empty();
      const ids = Array.from({ length: 450 }, (_, i) => `drama ${i}`);
      await ledger.putDramas(ids.map((id) => record(id)));
      await ledger.putDramas([record("drama 7", { split: "eval", quality: 5, drama: { dramaId: "drama 7", episodes: [], comments: [], transcript: "t" } })]);
      const stored = await all(ledger.dramas());
      expect(stored.map(({ order }) => order)).toEqual(ids.map((id) => sha256(id)).sort());
      expect(stored.find(({ dramaId }) => dramaId === "drama 8")).toEqual(record("drama 8"));
      expect(await ledger.drama("drama 7")).toMatchObject({ split: "eval", quality: 5, drama: { transcript: "t" } });
      expect(await ledger.drama("drama")).toBeUndefined();
    });

    test("plans what is absent, and counts it", async () => {
      const ledger = await planned("d1", "d2");
      expect(await ledger.plan([step("d1"), step("d1", { kind: "comments" }), step("d1", { kind: "comments" })], 1)).toBe(1);
      expect(await ledger.plan([], 1)).toBe(0);
      expect(await ledger.counts(1)).toMatchObject({ caption: { planned: 2, done: 0 }, comments: { planned: 1 }, sample: { planned: 0 }, filter: { parked: 0 } });
      expect(await rows(ledger)).toHaveLength(3);
    });

    test("refuses steps of dramas that it does not hold, and keeps none of them", async () => {
      const ledger = await planned("d1");
      await expect(ledger.plan([step("d1", { round: 1 }), step("nobody")], 1)).rejects.toMatchObject({ code: "LEDGER_DRAMA_UNKNOWN" });
      expect(await rows(ledger)).toHaveLength(1);
    });

    test("leases each step to one owner, with its drama and the answers so far", async () => {
      const ledger = await planned("d1");
      const [caption] = await lease(ledger);
      expect(caption).toMatchObject({ step: { key: step("d1").key, state: "leased", owner: "w1", fence: 1, generation: 1, content: null, attempts: 0, cost: 0 }, drama: record("d1"), answers: [] });
      expect(caption!.step.leaseUntil).toBeGreaterThan(0);
      expect(await lease(ledger, { owner: "w2" })).toEqual([]);
      await commit(ledger, caption!, done("the plot"), () => [step("d1", { kind: "sample", round: 1 })]);
      const [sample] = await lease(ledger, { owner: "w2" });
      expect(sample!.answers).toMatchObject([{ kind: "caption", state: "done", content: "the plot", model: "teacher-1", finish: "stop", attempts: 1, cost: 0.5, leaseUntil: null }]);
    });

    test("leases no more than was asked for, in all and of the kinds", async () => {
      const ledger = await planned("d1", "d2", "d3", "d4");
      await ledger.plan([step("d1", { kind: "comments" }), step("d4", { kind: "comments" })], 1);
      expect((await lease(ledger, { kinds: ["comments"], max: 1 })).map(({ step: { kind } }) => kind)).toEqual(["comments"]);
      expect(await lease(ledger, { max: 3, maxLeased: 3 })).toHaveLength(2);
      expect(await lease(ledger, { owner: "w2", maxLeased: 3 })).toEqual([]);
      expect(await lease(ledger, { max: 0 })).toEqual([]);
      expect(await lease(ledger, { generation: 2 })).toEqual([]);
      expect(await lease(ledger)).toHaveLength(3);
    });

    test("leases under load: no step goes to two owners", async () => {
      const ledger = await planned(...Array.from({ length: 60 }, (_, i) => `d${i}`));
      const taken = (await Promise.all(Array.from({ length: 12 }, (_, i) => lease(ledger, { owner: `w${i}`, max: 7 })))).flat();
      expect(taken).toHaveLength(60);
      expect(new Set(taken.map(({ step: { key } }) => key)).size).toBe(60);
    });

    test("lets the first commit win", async () => {
      const ledger = await planned("d1");
      const [leased] = await lease(ledger);
      expect(await Promise.all([commit(ledger, leased!, done("one")), commit(ledger, leased!, done("two"))])).toEqual(["ok", "stale"]);
      expect(await commit(ledger, leased!, { ...done("three"), state: "failed" })).toBe("stale");
      expect(await rows(ledger)).toMatchObject([{ state: "done", content: "one", cost: 0.5 }]);
    });

    test.each([["failed", "TRUNCATED", "half an ans"], ["failed", "EMPTY", null], ["blocked", "CONTENT", null]] as const)("keeps an answer that is %s with %s", async (state, code, content) => {
      const ledger = await planned("d1");
      const [leased] = await lease(ledger);
      expect(await commit(ledger, leased!, { state, code, content, finish: "length", model: null, attempts: 2, cost: 1.25 })).toBe("ok");
      expect(await rows(ledger)).toMatchObject([{ state, code, content, finish: "length", model: null, attempts: 2, cost: 1.25 }]);
      expect(await lease(ledger)).toEqual([]);
    });

    test("takes nothing from a lease that somebody else took over", async () => {
      const ledger = await planned("d1");
      const [slow] = await lease(ledger, { ttlMs: 1 });
      const [quick] = await eventually(() => lease(ledger, { owner: "w2" }));
      expect(quick!.step.fence).toBe(2);
      expect(await ledger.heartbeat([slow!.step.key], "w1", 60_000)).toEqual({ lost: [slow!.step.key] });
      expect(await commit(ledger, slow!, done("late"))).toBe("stale");
      expect(await ledger.park({ key: slow!.step.key, owner: "w1", fence: 1, until: Infinity, code: "HTTP_500", attempts: 1, cost: 0 })).toBe("stale");
      await ledger.release([slow!.step.key], "w1");
      expect(await commit(ledger, { ...slow!, step: { ...slow!.step, fence: 2 } }, done("forged"))).toBe("stale");
      expect(await commit(ledger, quick!, done("right"))).toBe("ok");
      expect(await rows(ledger)).toMatchObject([{ content: "right", owner: "w2", fence: 2 }]);
    });

    test("takes the answer of a lease that ran out as long as nobody else took the step", async () => {
      const ledger = await planned("d1");
      const [slow] = await lease(ledger, { ttlMs: 1 });
      await wait(20);
      expect(await commit(ledger, slow!, done("late but paid"))).toBe("ok");
      expect(await lease(ledger)).toEqual([]);
    });

    test("holds a lease for as long as its heart beats", async () => {
      const ledger = await planned("d1", "d2");
      const leased = await lease(ledger, { ttlMs: 1 });
      const keys = leased.map(({ step: { key } }) => key);
      expect(await ledger.heartbeat([...keys, sha256("no step")], "w1", 60_000)).toEqual({ lost: [sha256("no step")] });
      await wait(20);
      expect(await lease(ledger, { owner: "w2" })).toEqual([]);
      await commit(ledger, leased[0]!, done("a"));
      expect(await ledger.heartbeat(keys, "w1", 60_000)).toEqual({ lost: [keys[0]] });
      expect(await ledger.heartbeat([keys[1]!], "w2", 60_000)).toEqual({ lost: [keys[1]] });
      expect(await ledger.heartbeat([], "w1", 1)).toEqual({ lost: [] });
    });

    test("gives released steps to others", async () => {
      const ledger = await planned("d1", "d2");
      const [one, two] = await lease(ledger);
      await ledger.release([one!.step.key], "w2");
      expect(await lease(ledger)).toEqual([]);
      await ledger.release([one!.step.key, sha256("no step")], "w1");
      expect(await ledger.counts(1)).toMatchObject({ caption: { planned: 1, leased: 1 } });
      expect((await rows(ledger)).find(({ key }) => key === one!.step.key)).toMatchObject({ state: "planned", owner: null, leaseUntil: null });
      expect((await lease(ledger, { owner: "w2" })).map(({ step: { key, fence } }) => [key, fence])).toEqual([[one!.step.key, 2]]);
      expect(await commit(ledger, two!, done("b"))).toBe("ok");
    });

    test("keeps steps that nothing asks for where nobody leases them, until they are planned again", async () => {
      const ledger = await planned("d1", "d2");
      const [one] = await lease(ledger);
      await ledger.retire([one!.step.key], "w2");
      expect(await ledger.counts(1)).toMatchObject({ caption: { planned: 0, leased: 2 } });
      await ledger.retire([one!.step.key, sha256("no step")], "w1");
      expect(await ledger.counts(1)).toMatchObject({ caption: { planned: 0, leased: 1 } });
      expect(await lease(ledger)).toEqual([]);
      expect((await rows(ledger)).find(({ key }) => key === one!.step.key)).toMatchObject({ generation: 0, state: "planned", owner: null, leaseUntil: null });
      expect(await ledger.plan([step(one!.step.drama)], 1)).toBe(1);
      expect((await lease(ledger, { owner: "w2" })).map(({ step: { key, fence } }) => [key, fence])).toEqual([[one!.step.key, 2]]);
    });

    test("plans what follows from an answer with it, or neither", async () => {
      const ledger = await planned("d1");
      const [leased] = await lease(ledger);
      const killed = new Error("killed in between");
      const other = ledger.putDramas([record("d9")]);
      await expect(commit(ledger, leased!, done("lost"), () => { throw killed; })).rejects.toBe(killed);
      await expect(commit(ledger, leased!, done("lost"), () => [step("d1", { round: 3 }), step("nobody")])).rejects.toMatchObject({ code: "LEDGER_DRAMA_UNKNOWN" });
      await other;
      expect(await ledger.drama("d9")).toEqual(record("d9"));
      expect(await rows(ledger)).toMatchObject([{ state: "leased", content: null, attempts: 0, cost: 0 }]);
      expect(await commit(ledger, leased!, done("kept"), (answers) => answers.map(({ content }) => step("d1", { kind: "sample", round: content!.length })))).toBe("ok");
      expect((await rows(ledger)).map(({ kind, round, state }) => [kind, round, state])).toEqual([["caption", 0, "done"], ["sample", 4, "planned"]]);
      expect(await commit(ledger, leased!, done("again"), () => [step("d1", { round: 9 })])).toBe("stale");
      expect(await rows(ledger)).toHaveLength(2);
    });

    test("shows two commits of one drama each other's answers", async () => {
      const ledger = await planned("d1");
      await ledger.plan([step("d1", { kind: "comments" })], 1);
      const both = await lease(ledger);
      const seen: number[] = [];
      const together = (answers: StepRow[]): StepSpec[] => {
        seen.push(answers.length);
        expect(answers.map(({ key }) => key)).toEqual(answers.map(({ key }) => key).sort());
        return answers.length === 2 ? [step("d1", { kind: "sample", round: 1 })] : [];
      };
      expect(await Promise.all(both.map((leased) => commit(ledger, leased, done("x"), together)))).toEqual(["ok", "ok"]);
      expect(seen.sort()).toEqual([1, 2]);
      expect((await ledger.counts(1)).sample.planned).toBe(1);
    });

    test("parks a step for a time", async () => {
      const ledger = await planned("d1");
      const [leased] = await lease(ledger);
      const { key, fence } = leased!.step;
      const until = Date.now() + 50;
      expect(await ledger.park({ key, owner: "w1", fence, until, code: "HTTP_503", attempts: 6, cost: 0.25 })).toBe("ok");
      expect(await rows(ledger)).toMatchObject([{ state: "parked", code: "HTTP_503", attempts: 6, cost: 0.25, owner: null, leaseUntil: null }]);
      expect(Math.abs((await rows(ledger))[0]!.parkedUntil! - until)).toBeLessThan(2);
      const [again] = await eventually(() => lease(ledger));
      expect(again!.step).toMatchObject({ code: null, parkedUntil: null, attempts: 6, fence: 2 });
      await commit(ledger, again!, done("at last"));
      expect(await rows(ledger)).toMatchObject([{ state: "done", code: null, attempts: 7, cost: 0.75 }]);
    });

    test("frees what is asked for, and nothing else", async () => {
      const ledger = await planned("d1", "d2", "d3", "d4");
      await ledger.plan([step("d1", { kind: "comments" })], 1);
      const end = async (drama: string, kind: "caption" | "comments", how: "done" | "failed" | "blocked" | "parked", code: string | null): Promise<void> => {
        const leased = (await lease(ledger, { kinds: [kind] })).find(({ step: one }) => one.drama === drama)!;
        const { key, fence } = leased.step;
        await (how === "parked" ? ledger.park({ key, owner: "w1", fence, until: Infinity, code: code!, attempts: 6, cost: 0 }) : commit(ledger, leased, { ...done(`raw ${drama}`), state: how, code }));
        await ledger.release((await rows(ledger)).filter(({ state }) => state === "leased").map((row) => row.key), "w1");
      };
      await end("d1", "caption", "failed", "EMPTY");
      await end("d2", "caption", "parked", "HTTP_500");
      await end("d3", "caption", "blocked", "CONTENT");
      await end("d4", "caption", "done", null);
      await end("d1", "comments", "failed", "NO_JSON");
      expect((await rows(ledger)).find(({ state }) => state === "parked")).toMatchObject({ parkedUntil: null });
      expect(await lease(ledger)).toEqual([]);
      expect(await ledger.free({ kinds: ["sample"] })).toBe(0);
      expect(await ledger.free({ codes: ["NO_JSON", "'; DROP TABLE steps --"] })).toBe(1);
      expect(await ledger.free({ states: ["blocked"] })).toBe(1);
      expect(await ledger.free({})).toBe(2);
      expect(await ledger.free({})).toBe(0);
      expect(await ledger.counts(1)).toMatchObject({ caption: { planned: 3, done: 1 }, comments: { planned: 1 } });
      expect((await rows(ledger)).filter(({ state }) => state === "planned").map(({ content, code, finish, model }) => [content, code, finish, model])).toEqual(Array(4).fill([null, null, null, null]));
      expect(await lease(ledger)).toHaveLength(4);
    });

    test("moves steps to the generation that plans them, with their answers", async () => {
      const ledger = await planned("d1", "d2");
      await commit(ledger, (await lease(ledger, { max: 1 }))[0]!, done("kept"));
      await ledger.openGeneration("second", null);
      expect(await ledger.plan([step("d1"), step("d1", { kind: "sample", round: 1 })], 2)).toBe(2);
      expect(await ledger.plan([step("d1")], 2)).toBe(0);
      const counted = [await ledger.counts(1), await ledger.counts(2)].map(({ caption, sample }) => [caption.planned + caption.done, sample.planned]);
      expect(counted).toEqual([[1, 0], [1, 1]]);
      expect((await all(ledger.stream({ generation: 1 }))).map(({ drama }) => drama)).toEqual(["d2"]);
      expect(await ledger.plan([step("d1")], 1)).toBe(1);
      expect((await ledger.counts(1)).caption).toMatchObject({ planned: 1, done: 1 });
    });

    test("sets the steps of a changed drama aside until they are planned again", async () => {
      const ledger = await planned("d1", "d2");
      await ledger.plan([step("d1", { kind: "comments" })], 1);
      const leased = await lease(ledger);
      for (const one of leased.filter(({ step: { drama } }) => drama === "d1")) await commit(ledger, one, done(one.step.kind));
      await ledger.putDramas([record("d1"), record("d2", { quality: 4 })]);
      expect(await ledger.counts(1)).toMatchObject({ caption: { done: 1, leased: 1 }, comments: { done: 1 } });
      await ledger.putDramas([record("d1", { contentHash: sha256("edited") })]);
      expect(await ledger.counts(1)).toMatchObject({ caption: { done: 0, leased: 1 }, comments: { done: 0 } });
      expect(await ledger.plan([step("d1"), step("d1", { kind: "comments", part: 2 })], 1)).toBe(2);
      expect(await ledger.counts(1)).toMatchObject({ caption: { done: 1, leased: 1 }, comments: { done: 0, planned: 1 } });
    });

    test("reads steps by what they are", async () => {
      const ids = Array.from({ length: 230 }, (_, i) => `d${i}`);
      const ledger = await planned(...ids);
      await ledger.plan([step("d1", { kind: "sample", round: 2 })], 1);
      for (const one of await lease(ledger, { max: 5 })) await commit(ledger, one, done(one.step.drama));
      expect((await all(ledger.stream({ kind: "caption" }))).map(({ drama }) => drama).sort()).toEqual([...ids].sort());
      expect((await all(ledger.stream({ drama: "d1" }))).map(({ kind, round }) => [kind, round]).sort()).toEqual([["caption", 0], ["sample", 2]]);
      expect(await all(ledger.stream({ state: "done" }))).toHaveLength(5);
      expect(await all(ledger.stream({ state: "done", kind: "filter" }))).toEqual([]);
      expect(await all(ledger.stream({ drama: "nobody" }))).toEqual([]);
      expect(await all(ledger.stream({ generation: 2 }))).toEqual([]);
      const counted = Object.values(await ledger.counts(1)).flatMap((states) => Object.values(states)).reduce((sum, n) => sum + n);
      expect(counted).toBe((await rows(ledger)).length);
    });

    test("reads all answers drama by drama, in the order of their hashes", async () => {
      const ids = Array.from({ length: 230 }, (_, i) => `d${i}`);
      const ledger = await planned(...ids);
      await ledger.plan(ids.map((id) => step(id, { kind: "comments" })), 1);
      await ledger.plan([step("d5")], 2);
      await ledger.putDramas([record("without steps")]);
      for (const one of await lease(ledger, { max: 20 })) await commit(ledger, one, done(`${one.step.drama} ${one.step.kind}`));
      const found = await all(ledger.answersByDrama(1));
      expect(found.map(({ drama }) => drama.dramaId)).toEqual([...ids, "without steps"].sort((a, b) => (sha256(a) < sha256(b) ? -1 : 1)));
      for (const { drama, answers } of found) {
        expect(answers.map(({ key }) => key)).toEqual(answers.map(({ key }) => key).sort());
        expect(answers.map(({ kind }) => kind).sort()).toEqual(drama.dramaId === "without steps" ? [] : drama.dramaId === "d5" ? ["comments"] : ["caption", "comments"]);
        for (const { drama: id, kind, content, state } of answers) expect(content).toBe(state === "done" ? `${id} ${kind}` : null);
      }
      expect(found.flatMap(({ answers }) => answers).filter(({ state }) => state === "done")).toHaveLength(20);
    });

    test("goes on writing while it is read", async () => {
      const ledger = await planned(...Array.from({ length: 450 }, (_, i) => `d${i}`));
      let read = 0;
      for await (const { answers } of ledger.answersByDrama(1)) {
        if (read++ % 150 === 0) for (const one of await lease(ledger, { max: 1 })) await commit(ledger, one, done("meanwhile"));
        expect(answers).toHaveLength(1);
      }
      expect(read).toBe(450);
      expect((await ledger.counts(1)).caption.done).toBe(3);
    });

    test("books money before it is spent, and what it was", async () => {
      const ledger = await empty();
      const ids = [await ledger.reserve(attempt("k1", 2)), await ledger.reserve(attempt("k1", 2)), await ledger.reserve({ ...attempt("k2", 4), task: "caption" }), await ledger.reserve({ ...attempt("k3", 8), task: "grpo" })];
      expect(new Set(ids).size).toBe(4);
      expect(ledger.spent()).toBe(16);
      await ledger.settle(ids[0]!, settled(0.5));
      await ledger.settle(ids[0]!, settled(99));
      await ledger.settle(ids[1]!, { cost: 2, outcome: "retry", code: "TIMEOUT", isUnknown: true, at: 3_000 });
      await ledger.settle(ids[3]!, { cost: 0, outcome: "not-sent", isUnknown: false, at: 3_000 });
      await ledger.settle("123456", settled(1));
      expect(ledger.spent()).toBe(6.5);
      expect(await ledger.spending()).toEqual({
        settled: 0.5,
        unknown: 2,
        inFlight: 4,
        promptTokens: 10,
        completionTokens: 5,
        calls: 3,
        byKind: { sample: { calls: 2, cost: 2.5, retries: 1 }, caption: { calls: 1, cost: 4, retries: 0 } },
        byOutcome: { "in-flight": 1, "not-sent": 1, ok: 1, retry: 1 },
      });
    });

    test("allows no more money than there is, whoever asks at once", async () => {
      const ledger = await empty({ maxCost: 10 });
      const ids = await Promise.all(Array.from({ length: 30 }, (_, i) => ledger.reserve(attempt(`k${i}`, 1))));
      expect(ids.filter((id) => id !== null)).toHaveLength(10);
      expect(ledger.spent()).toBe(10);
      await ledger.settle(ids.find((id) => id !== null)!, settled(0.5));
      expect(await ledger.reserve(attempt("more", 1))).toBeNull();
      expect(await ledger.reserve(attempt("less", 0.5))).not.toBeNull();
      expect(await ledger.reserve(attempt("none", Number.NaN))).toBeNull();
      expect((await ledger.spending()).inFlight).toBe(9.5);
    });

    test("keeps the first word on a gate", async () => {
      const ledger = await empty();
      const gate = { generation: 1, quality: 2 as const, round: 3, isOpen: false, cost: 4.5, newDramas: 0 };
      await ledger.setGate(gate);
      await ledger.setGate({ ...gate, isOpen: true });
      await ledger.setGate({ ...gate, quality: 1, round: 10, isOpen: true });
      await ledger.setGate({ ...gate, quality: 1, round: 9, isOpen: true });
      expect((await ledger.gates(1)).map(({ quality, round, isOpen }) => [quality, round, isOpen])).toEqual([[1, 9, true], [1, 10, true], [2, 3, false]]);
      expect((await ledger.gates(1))[2]).toEqual(gate);
      expect(await ledger.gates(2)).toEqual([]);
    });

    test("deletes a drama with everything about it but the money", async () => {
      const ledger = await planned("d1", "d2");
      await ledger.plan([step("d1", { kind: "comments" })], 1);
      const leased = await lease(ledger);
      const id = await ledger.reserve({ ...attempt(step("d1").key, 3), task: "caption" });
      expect(await ledger.deleteDrama("d1")).toBe(2);
      expect(await ledger.deleteDrama("d1")).toBe(0);
      await ledger.settle(id!, settled(1));
      expect(await commit(ledger, leased.find(({ step: { drama } }) => drama === "d1")!, done("too late"), () => [step("d1", { round: 5 })])).toBe("stale");
      expect(await ledger.drama("d1")).toBeUndefined();
      expect((await rows(ledger)).map(({ drama }) => drama)).toEqual(["d2"]);
      expect((await all(ledger.answersByDrama(1))).map(({ drama }) => drama.dramaId)).toEqual(["d2"]);
      expect(await ledger.spending()).toMatchObject({ settled: 1, calls: 1, byKind: { caption: { calls: 1, cost: 1 } } });
    });

    const HOSTILE = ["__proto__", "constructor", "toString", "'; DROP TABLE steps; --", '"quoted" \\ back', "%s $1 ? :name", "../../etc/passwd", "  spaces  ", "\u202eright to left", "zero\u200bwidth", "e\u0301", "é", "名字", "🎬", "", "\n\r\t"];

    test("keeps names of any kind as they are", async () => {
      const ledger = await planned(...HOSTILE);
      await ledger.openGeneration("__proto__", JSON.parse('{"__proto__": {"polluted": true}}') as null);
      for (const one of await lease(ledger, { owner: "o'w\"ner", max: 100 })) await commit(ledger, one, { ...done(one.step.drama), model: one.step.drama, code: one.step.drama, finish: one.step.drama });
      const kept = await rows(ledger);
      expect(kept.map(({ drama }) => drama).sort()).toEqual([...HOSTILE].sort());
      for (const { drama, content, model, code, finish, owner } of kept) expect([content, model, code, finish, owner]).toEqual([drama, drama, drama, drama, "o'w\"ner"]);
      for (const id of HOSTILE) expect((await ledger.drama(id))?.drama.comments).toEqual(record(id).drama.comments);
      expect(JSON.stringify((await ledger.generations())[1]!.settings)).toBe('{"__proto__":{"polluted":true}}');
      await ledger.reserve({ ...attempt("__proto__", 1), drama: "__proto__", task: "__proto__" });
      expect(Object.entries((await ledger.spending()).byKind)).toEqual([["__proto__", { calls: 1, cost: 1, retries: 0 }]]);
      expect("polluted" in {}).toBe(false);
      for (const id of HOSTILE) expect(await ledger.deleteDrama(id)).toBe(1);
    });

    test("stores texts well-formed and without NUL", async () => {
      const ledger = await planned("d1");
      const [leased] = await lease(ledger);
      const torn = "a\0b\ud800c\udc00d";
      expect(await commit(ledger, leased!, { ...done(torn), code: torn, finish: torn, model: torn })).toBe("ok");
      expect(await rows(ledger)).toMatchObject([{ content: "ab\ufffdc\ufffdd", code: "ab\ufffdc\ufffdd", finish: "ab\ufffdc\ufffdd", model: "ab\ufffdc\ufffdd" }]);
      const drama = { ...record("d2").drama, comments: [{ text: torn, likes: 0 }] };
      await ledger.putDramas([record("d2", { drama })]);
      expect((await ledger.drama("d2"))!.drama).toEqual(drama);
      const id = await ledger.reserve({ ...attempt(torn, 1), drama: torn, task: torn });
      await ledger.settle(id!, { ...settled(1), outcome: torn, code: torn });
      expect(Object.keys((await ledger.spending()).byOutcome)).toEqual(["ab\ufffdc\ufffdd"]);
    });

    test.each(["a\0b", "half \ud800"])("refuses the name %j", async (wrong) => {
      const ledger = await planned("half \ufffd", "ab");
      const refused = { code: "LEDGER_TEXT" };
      await expect(ledger.putDramas([record(wrong)])).rejects.toMatchObject(refused);
      await expect(ledger.putDramas([record("d2", { groupId: wrong })])).rejects.toMatchObject(refused);
      await expect(ledger.plan([{ ...step("ab"), key: wrong }], 1)).rejects.toMatchObject(refused);
      await expect(lease(ledger, { owner: wrong })).rejects.toMatchObject(refused);
      await expect(ledger.openGeneration(wrong, null)).rejects.toMatchObject(refused);
      await expect(ledger.plan([step(wrong)], 1)).rejects.toBeInstanceOf(CurationError);
      expect(await ledger.drama(wrong)).toBeUndefined();
      expect(await all(ledger.stream({ drama: wrong }))).toEqual([]);
      expect(await ledger.deleteDrama(wrong)).toBe(0);
      expect(await rows(ledger)).toHaveLength(2);
    });

    test("wakes for new work, for a lease that runs out, for a signal and after its time", async () => {
      const ledger = await planned("d1");
      await ledger.wake(1);
      const stop = new AbortController();
      const stopped = ledger.wake(600_000, stop.signal);
      stop.abort();
      await stopped;
      await ledger.wake(600_000, stop.signal);
      const woken = ledger.wake(600_000);
      await ledger.plan([step("d1", { kind: "comments" })], 1);
      await woken;
      await lease(ledger, { ttlMs: 30 });
      await eventually(async () => {
        await ledger.wake(600_000);
        return lease(ledger, { owner: "w2" });
      });
      expect((await rows(ledger)).map(({ owner }) => owner)).toEqual(["w2", "w2"]);
    });

    test("is closed after its end", async () => {
      const ledger = await open();
      await ledger.close();
      await ledger.close();
      await expect(ledger.counts(1)).rejects.toBeInstanceOf(CurationError);
      await expect(ledger.plan([], 1).then(() => ledger.openGeneration("a", null))).rejects.toBeInstanceOf(CurationError);
    });
  });
}
