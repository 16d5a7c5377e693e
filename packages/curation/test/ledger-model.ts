import fc from "fast-check";
import { STAGE_KINDS, type Leased, type StageKind, type StepLedger, type StepRow, type StepSpec, type StepState } from "@dramascope/curation";
import { expect, test } from "vitest";
import type { OpenLedger } from "./ledger-conformance.ts";
import { all, done, record, step } from "./ledger-steps.ts";

/** A step as a plain map keeps it. */
interface ModelStep {
  spec: StepSpec;
  generation: number;
  state: StepState;
  content: string | null;
  code: string | null;
  attempts: number;
  cost: number;
  fence: number;
  owner: string | null;
  /** A parked step whose pause is over. */
  isDue: boolean;
}

interface Model {
  dramas: Map<string, string>;
  steps: Map<string, ModelStep>;
  open: Map<string, number>;
  settled: number;
}

interface Real {
  ledger: StepLedger;
  /** Every lease ever given, stale ones too. */
  leases: Leased[];
}

type Command = fc.AsyncCommand<Model, Real>;

const ENDED: ReadonlySet<StepState> = new Set(["done", "failed", "blocked"]);
const MAX_COST = 6;

function addTo(model: Model, specs: readonly StepSpec[], generation: number): number {
  let added = 0;
  for (const spec of specs) {
    const known = model.steps.get(spec.key);
    if (known?.generation === generation) continue;
    if (known) known.generation = generation;
    else model.steps.set(spec.key, { spec, generation, state: "planned", content: null, code: null, attempts: 0, cost: 0, fence: 0, owner: null, isDue: false });
    added++;
  }
  return added;
}

const shown = ({ spec, isDue: _, ...rest }: ModelStep) => ({ ...spec, ...rest });
const byKey = (a: { key: string }, b: { key: string }): number => (a.key < b.key ? -1 : 1);

/** Lets the ledger be looked at after every command. */
async function compare({ steps }: Model, { ledger }: Real): Promise<void> {
  const rows = await all(ledger.stream({}));
  const seen = rows.map(({ key, kind, drama, round, part, generation, state, content, code, attempts, cost, fence, owner }) => ({ key, kind, drama, round, part, generation, state, content, code, attempts, cost, fence, owner }));
  expect(seen.sort(byKey)).toEqual([...steps.values()].map(shown).sort(byKey));
  for (const generation of [1, 2]) {
    const counts = await ledger.counts(generation);
    for (const kind of STAGE_KINDS) for (const [state, n] of Object.entries(counts[kind])) expect(n).toBe(rows.filter((row) => row.generation === generation && row.kind === kind && row.state === state).length);
  }
}

const command = (text: string, run: (model: Model, real: Real) => Promise<void>): Command => ({
  check: () => true,
  run: async (model, real) => {
    await run(model, real);
    await compare(model, real);
  },
  toString: () => text,
});

const dramaId = fc.constantFrom("d1", "d2", "__proto__");
const kind = fc.constantFrom<StageKind>(...STAGE_KINDS);
const owner = fc.constantFrom("w1", "w2");
const generation = fc.constantFrom(1, 2);
const specs = fc.array(fc.tuple(kind, fc.nat({ max: 2 })), { maxLength: 4 });
const stepsOf = (drama: string, list: readonly (readonly [StageKind, number])[]): StepSpec[] => list.map(([of, round]) => step(drama, { kind: of, round }));

/** The step that a lease is the last word on. */
const held = ({ steps }: Model, { step: { key, fence, owner: holder } }: Leased): ModelStep | undefined => {
  const one = steps.get(key);
  return one && (one.state === "leased" || one.state === "planned") && one.fence === fence && lastOwner.get(one) === holder ? one : undefined;
};
/** Owners of leases that were given back: their late answer still counts. */
const lastOwner = new WeakMap<ModelStep, string>();

const put = fc.tuple(dramaId, fc.constantFrom("a", "b")).map(([id, content]) =>
  command(`put ${id} ${content}`, async (model, { ledger }) => {
    await ledger.putDramas([record(id, { contentHash: content })]);
    if (model.dramas.has(id) && model.dramas.get(id) !== content) for (const one of model.steps.values()) if (one.spec.drama === id) one.generation = 0;
    model.dramas.set(id, content);
  }),
);
const plan = fc.tuple(dramaId, specs, generation).map(([id, list, to]) =>
  command(`plan ${id} ${JSON.stringify(list)} in ${to}`, async (model, { ledger }) => {
    const wanted = stepsOf(id, list);
    if (!model.dramas.has(id) && wanted.length > 0) await expect(ledger.plan(wanted, to)).rejects.toMatchObject({ code: "LEDGER_DRAMA_UNKNOWN" });
    else expect(await ledger.plan(wanted, to)).toBe(addTo(model, wanted, to));
  }),
);
const lease = fc.tuple(owner, fc.nat({ max: 3 }), fc.option(kind, { nil: undefined }), generation).map(([holder, max, only, from]) =>
  command(`lease ${max} ${only ?? "of all"} of ${from} to ${holder}`, async (model, real) => {
    const leased = await real.ledger.lease({ owner: holder, max, ttlMs: 600_000, generation: from, ...(only ? { kinds: [only] } : {}) });
    const waiting = [...model.steps.values()].filter((one) => (one.state === "planned" || one.isDue) && one.generation === from && (only === undefined || one.spec.kind === only));
    expect(leased).toHaveLength(Math.min(max, waiting.length));
    for (const { step: row, drama, answers } of leased) {
      const one = model.steps.get(row.key)!;
      expect(waiting).toContain(one);
      Object.assign(one, { state: "leased", code: null, owner: holder, fence: one.fence + 1, isDue: false });
      lastOwner.set(one, holder);
      expect(drama.contentHash).toBe(model.dramas.get(row.drama));
      expect(answers.map(({ key }) => key)).toEqual([...model.steps.values()].filter(({ spec, generation: of, state }) => spec.drama === row.drama && of === from && ENDED.has(state)).map(({ spec }) => spec.key).sort());
    }
    real.leases.push(...leased);
  }),
);
const commit = fc.tuple(fc.nat(), fc.constantFrom<"done" | "failed" | "blocked">("done", "failed", "blocked"), specs).map(([at, state, list]) =>
  command(`commit ${at} as ${state}, then ${JSON.stringify(list)}`, async (model, { ledger, leases }) => {
    const leased = leases[at % Math.max(1, leases.length)];
    if (!leased) return;
    const { key, fence, drama, owner: holder } = leased.step;
    const one = held(model, leased);
    const code = state === "done" ? null : "CODE";
    let seen: StepRow[] | undefined;
    const next = (answers: StepRow[]): StepSpec[] => {
      seen = answers;
      return stepsOf(drama, list);
    };
    expect(await ledger.commit({ key, fence, owner: holder!, result: { ...done(`answer ${fence}`), state, code }, next })).toBe(one ? "ok" : "stale");
    if (!one) return;
    Object.assign(one, { state, content: `answer ${fence}`, code, attempts: one.attempts + 1, cost: one.cost + 0.5, owner: holder });
    if (one.generation === 0) return;
    expect(seen!.map((row) => row.key)).toEqual([...model.steps.values()].filter(({ spec, generation: of, state: is }) => spec.drama === drama && of === one.generation && ENDED.has(is)).map(({ spec }) => spec.key).sort());
    addTo(model, stepsOf(drama, list), one.generation);
  }),
);
const park = fc.tuple(fc.nat(), fc.boolean()).map(([at, isShort]) =>
  command(`park ${at} ${isShort ? "until now" : "until freed"}`, async (model, { ledger, leases }) => {
    const leased = leases[at % Math.max(1, leases.length)];
    if (!leased) return;
    const { key, fence, owner: holder } = leased.step;
    const one = held(model, leased);
    expect(await ledger.park({ key, fence, owner: holder!, until: isShort ? 0 : Infinity, code: "BUSY", attempts: 2, cost: 0.25 })).toBe(one ? "ok" : "stale");
    if (one) Object.assign(one, { state: "parked", code: "BUSY", attempts: one.attempts + 2, cost: one.cost + 0.25, owner: null, isDue: isShort });
  }),
);
const release = fc.tuple(fc.nat(), owner).map(([at, holder]) =>
  command(`release ${at} of ${holder}`, async (model, { ledger, leases }) => {
    const leased = leases[at % Math.max(1, leases.length)];
    if (!leased) return;
    await ledger.release([leased.step.key], holder);
    const one = model.steps.get(leased.step.key);
    if (one?.state === "leased" && one.owner === holder) Object.assign(one, { state: "planned", owner: null });
  }),
);
const beat = fc.tuple(fc.nat(), owner).map(([at, holder]) =>
  command(`heartbeat ${at} of ${holder}`, async (model, { ledger, leases }) => {
    const leased = leases[at % Math.max(1, leases.length)];
    if (!leased) return;
    const one = model.steps.get(leased.step.key);
    const isHeld = one?.state === "leased" && one.owner === holder;
    expect(await ledger.heartbeat([leased.step.key], holder, 600_000)).toEqual({ lost: isHeld ? [] : [leased.step.key] });
  }),
);
const free = fc.subarray(["failed", "parked", "blocked"] as const).map((states) =>
  command(`free ${states.join(" ")}`, async (model, { ledger }) => {
    const wanted = [...model.steps.values()].filter((one) => one.generation === 2 && states.some((state) => state === one.state));
    expect(await ledger.free({ states })).toBe(wanted.length);
    for (const one of wanted) Object.assign(one, { state: "planned", content: null, code: null, owner: null, fence: one.fence + 1, isDue: false });
  }),
);
const remove = dramaId.map((id) =>
  command(`delete ${id}`, async (model, { ledger }) => {
    const gone = [...model.steps.values()].filter(({ spec }) => spec.drama === id);
    expect(await ledger.deleteDrama(id)).toBe(gone.length);
    for (const { spec } of gone) model.steps.delete(spec.key);
    model.dramas.delete(id);
  }),
);
const spend = fc.tuple(dramaId, fc.constantFrom(0.25, 0.5, 2)).map(([drama, estimate]) =>
  command(`reserve ${estimate}`, async (model, { ledger }) => {
    const before = model.settled + [...model.open.values()].reduce((sum, one) => sum + one, 0);
    const id = await ledger.reserve({ key: drama, attempt: 1, task: "cot", drama, estimate, at: 0 });
    expect(id === null).toBe(before + estimate > MAX_COST);
    if (id !== null) model.open.set(id, estimate);
    expect(ledger.spent()).toBe(before + (id === null ? 0 : estimate));
  }),
);
const settle = fc.tuple(fc.nat(), fc.constantFrom(0, 0.25, 4)).map(([at, cost]) =>
  command(`settle ${at} for ${cost}`, async (model, { ledger }) => {
    const id = [...model.open.keys()][at % Math.max(1, model.open.size)];
    if (id === undefined) return;
    await ledger.settle(id, { cost, outcome: "ok", isUnknown: false, at: 1 });
    model.open.delete(id);
    model.settled += cost;
    const { settled, inFlight, unknown } = await ledger.spending();
    expect([settled, inFlight, unknown]).toEqual([model.settled, [...model.open.values()].reduce((sum, one) => sum + one, 0), 0]);
  }),
);

/** Whatever is done to it, a ledger is what a plain map would be. */
export function testAgainstModel(name: string, open: OpenLedger, runs: number): void {
  test(`${name} ledger does what a plain map does`, async () => {
    const commands = fc.commands([put, put, plan, plan, lease, lease, commit, commit, commit, park, release, beat, free, remove, spend, settle], { maxCommands: 60, size: "+1" });
    await fc.assert(
      fc.asyncProperty(commands, async (list) => {
        const ledger = await open({ maxCost: MAX_COST });
        try {
          await ledger.openGeneration("one", null);
          await ledger.openGeneration("two", null);
          await fc.asyncModelRun(() => ({ model: { dramas: new Map(), steps: new Map(), open: new Map(), settled: 0 }, real: { ledger, leases: [] } }), list);
        } finally {
          await ledger.close();
        }
      }),
      { numRuns: runs },
    );
  });
}
