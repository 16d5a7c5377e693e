import { mkdtemp, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { analyseExperiment, analyseSummaries, cuped, lift, parseExperimentPlan, ratioStats, type ExperimentPlan, type ExperimentReport, type ExperimentRow, type ItemRow } from "@dramascope/evaluation";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PLAN, simulateUsers, stream } from "./experiment-data.ts";

const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;
const close = (actual: number | null | undefined, expected: number, relative = 1e-10): void => expect(Math.abs(actual! - expected)).toBeLessThanOrEqual(relative * Math.max(1e-9, Math.abs(expected)));
const column = (rows: readonly ExperimentRow[], variant: string, name: string): number[] => rows.filter((row) => row.variant === variant).map((row) => row[name] as number);
const withPre: ExperimentPlan = { ...PLAN, metrics: [{ ...PLAN.metrics[0]!, prePeriod: "before" }] };

/** All numbers of two reports agree to 1e-12, everything else exactly. */
function agree(actual: unknown, expected: unknown, where = "report"): void {
  if (typeof expected === "number") expect(Math.abs((actual as number) - expected), where).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(expected)));
  else if (typeof expected === "object" && expected !== null) for (const key of Object.keys(expected)) agree((actual as Record<string, unknown>)[key], (expected as Record<string, unknown>)[key], `${where}.${key}`);
  else expect(actual, where).toEqual(expected);
}

describe("analyseExperiment", () => {
  const rows = simulateUsers(1, 4000, { lift: 0.3 });

  it("gives what the single functions give on the same columns", async () => {
    const report = await analyseExperiment(stream(rows), PLAN);
    const [a, b] = ["A", "B"].map((variant) => ratioStats(column(rows, variant, "clicks"), column(rows, variant, "impressions")));
    const metric = report.comparisons[0]!.metrics[0]!;
    for (const name of ["estimate", "se", "df", "low", "high", "p"] as const) close(metric.relative![name], lift(a!, b!)[name]!);
    for (const name of ["estimate", "se", "low", "high"] as const) close(metric.absolute![name], lift(a!, b!, { relative: false })[name]!);
    expect(metric.evidence).toMatchObject({ basis: "plain", interval: "fixed" });
    expect(report).toMatchObject({ verdict: "ship", crossovers: 0, repeated: 0, srm: { isMismatch: false } });
  });

  it("takes the pre-period out with one slope for all arms", async () => {
    const plan: ExperimentPlan = { ...PLAN, metrics: [{ name: "clicks", kind: "mean", numerator: "clicks", prePeriod: "before", role: "primary" }] };
    const found = (await analyseExperiment(stream(rows), plan)).comparisons[0]!.metrics[0]!;
    // The same arms centred on their own means have the pooled slope as their common one.
    const centred = (name: string): number[] => ["A", "B"].flatMap((variant) => {
      const values = column(rows, variant, name);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      return values.map((value) => value - mean);
    });
    const { theta, varianceRatio } = cuped(centred("clicks"), centred("before"));
    close(found.cuped!.theta, theta);
    close(found.cuped!.varianceRatio, varianceRatio!);
    expect(found.cuped!.coverage).toBe(1);
    const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
    const difference = (name: string): number => mean(column(rows, "B", name)) - mean(column(rows, "A", name));
    close(found.cuped!.absolute.estimate, difference("clicks") - theta * difference("before"), 1e-9);
    expect(found.evidence!.se).toBe(found.cuped!.relative.se);
  });

  it("leaves users without a pre-period as they are", async () => {
    const some = rows.map((row, i) => (i % 4 === 0 ? { ...row, before: i % 8 === 0 ? null : undefined } : row));
    const { comparisons, warnings } = await analyseExperiment(stream(some), withPre);
    const { cuped: found, relative } = comparisons[0]!.metrics[0]!;
    expect(found).toMatchObject({ coverage: 0.75 });
    expect(found!.varianceRatio).toBeLessThan(1);
    expect(found!.relative.se!).toBeLessThan(relative!.se!);
    expect(warnings.join()).toContain("75.0 % of users have a pre-period");
    const none = await analyseExperiment(stream(rows.map(({ before: _, ...row }): ExperimentRow => row)), withPre);
    expect(none.comparisons[0]!.metrics[0]).toMatchObject({ cuped: null, evidence: { basis: "plain" } });
  });

  it("removes users in two variants from both, whatever the order and pieces of the data", async () => {
    const users = simulateUsers(2, 60_000);
    const crossed = users.filter((_, i) => i % 37 === 0).map((row): ExperimentRow => ({ ...row, variant: row.variant === "A" ? "B" : "A", clicks: 1, impressions: 900 }));
    const wide = simulateUsers(3, 3000, { prefix: "剧迷" });
    const expected = await analyseExperiment(stream([...users.filter((_, i) => i % 37 !== 0), ...wide]), withPre);
    const forward = await analyseExperiment(stream([...users, ...wide, ...crossed]), withPre);
    const backward = await analyseExperiment(stream([...users, ...wide, ...crossed].reverse(), 7), withPre);
    expect(forward.crossovers).toBe(crossed.length);
    agree({ ...forward, crossovers: 0, warnings: [] }, { ...expected, warnings: [] });
    agree(backward, forward);
    expect(forward.warnings.join()).toContain("were in more than one variant");
  });

  it("gives the same from the disk, and leaves nothing there", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-spill-"));
    const users = simulateUsers(5, 50_000);
    const long = users.map((row): ExperimentRow => ({ ...row, userId: `剧${"x".repeat(480)}${row.userId}` }));
    const crossed = long.filter((_, i) => i % 50 === 0).map((row): ExperimentRow => ({ ...row, variant: row.variant === "A" ? "B" : "A" }));
    const expected = await analyseExperiment(stream(users.filter((_, i) => i % 50 !== 0)), withPre);
    const spilled = await analyseExperiment(stream([...long, ...crossed]), withPre, { temporaryFolder: folder });
    expect(spilled.crossovers).toBe(crossed.length);
    agree({ ...spilled, crossovers: 0, warnings: [] }, { ...expected, warnings: [] });
    const abort = new AbortController();
    const stopped = analyseExperiment(stream([...long, ...long]), withPre, { temporaryFolder: folder, signal: abort.signal, onProgress: () => abort.abort(new Error("enough")) });
    await expect(stopped).rejects.toThrow("enough");
    expect(await readdir(folder)).toEqual([]);
    await expect(analyseExperiment(stream(long), withPre, { temporaryFolder: join(folder, "none") })).rejects.toThrow(code("TEMPORARY_FILE"));
  });

  it("finds repeated and crossed users exactly, compared with a plain table", async () => {
    const plan: ExperimentPlan = { ...PLAN, variants: ["A", "B", "C"].map((name) => ({ name, share: 1 })) };
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom("a", "b", "é", "剧", "\ud800", "aa", "00", "剧剧"), fc.constantFrom("A", "B", "C")), { minLength: 1, maxLength: 30 }), async (pairs) => {
        const variants = new Map<string, string[]>();
        for (const [id, variant] of pairs) variants.set(id, [...(variants.get(id) ?? []), variant]);
        const one = [...variants.values()].filter((own) => new Set(own).size === 1);
        const report = await analyseExperiment(stream(pairs.map(([userId, variant]) => ({ userId, variant, clicks: 1, impressions: 2 }))), plan);
        expect([report.crossovers, report.repeated, report.users.map(({ users }) => users)]).toEqual([
          variants.size - one.length,
          one.filter((own) => own.length > 1).length,
          ["A", "B", "C"].map((name) => one.filter((own) => own[0] === name).length),
        ]);
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ["a variant the plan does not have", { variant: "C" }, /variant is "C"/u],
    ["no user", { userId: "" }, /userId is ""/u],
    ["a number as user", { userId: 7 }, /give it as text/u],
    ["an endless id", { userId: "x".repeat(513) }, /513 characters/u],
    ["text as a value", { clicks: "3" }, /clicks is "3"/u],
    ["a value that is not finite", { impressions: Number.POSITIVE_INFINITY }, /impressions is Infinity/u],
    ["no value", { clicks: null }, /clicks is null/u],
  ])("refuses a row with %s", async (_, change, message) => {
    const bad = { userId: "u", variant: "A", clicks: 1, impressions: 2, ...change } as ExperimentRow;
    await expect(analyseExperiment(stream([bad]), PLAN)).rejects.toThrow(expect.objectContaining({ code: "ROW_INVALID", message: expect.stringMatching(message) as string }) as Error);
  });

  it("stops when it is told to", async () => {
    const abort = new AbortController();
    abort.abort(new Error("enough"));
    await expect(analyseExperiment(stream(rows), PLAN, { signal: abort.signal })).rejects.toThrow("enough");
  });

  it.each([
    ["an unknown control", { control: "Z" }],
    ["no primary", { metrics: [{ ...PLAN.metrics[0]!, role: "secondary" }] }],
    ["a guardrail without limit", { metrics: [...PLAN.metrics, { name: "watch", kind: "mean", numerator: "watch", role: "guardrail" }] }],
    ["a limit on a primary", { metrics: [{ ...PLAN.metrics[0]!, limit: 0.1 }] }],
    ["a pre-period that is the metric", { metrics: [{ ...PLAN.metrics[0]!, prePeriod: "clicks" }] }],
    ["a metric twice", { metrics: [PLAN.metrics[0]!, PLAN.metrics[0]!] }],
    ["an unknown setting", { aplha: 0.1 }],
    ["a ratio without denominator", { metrics: [{ name: "ctr", kind: "ratio", numerator: "clicks", role: "primary" }] }],
    ["a metric column named variant", { metrics: [{ name: "v", kind: "mean", numerator: "variant", role: "primary" }] }],
  ])("refuses a plan with %s", (_, change) => expect(() => parseExperimentPlan({ ...PLAN, ...change })).toThrow(code("CONFIG_INVALID")));
});

describe("A/A experiments", () => {
  it("call 3.5 to 6.5 % different, with and without the pre-period, and fewer than .5 % a sample ratio mismatch", async () => {
    const experiments = 1000;
    let [plain, adjusted, flagged, shrinking] = [0, 0, 0, 0];
    for (let seed = 0; seed < experiments; seed++) {
      const report = await analyseExperiment(stream(simulateUsers(1000 + seed, 300)), withPre);
      if (report.srm!.isMismatch) flagged++;
      const metric = report.comparisons[0]?.metrics[0];
      if (!metric) continue;
      if (metric.relative!.p! < 0.05) plain++;
      if (metric.cuped!.relative.p! < 0.05) adjusted++;
      if (metric.cuped!.varianceRatio! < 1) shrinking++;
    }
    expect(plain / experiments).toBeGreaterThan(0.035);
    expect(plain / experiments).toBeLessThan(0.065);
    expect(adjusted / experiments).toBeGreaterThan(0.035);
    expect(adjusted / experiments).toBeLessThan(0.065);
    expect(flagged / experiments).toBeLessThan(0.005);
    expect(shrinking).toBe(experiments - flagged);
  });
});

describe("values of any size", () => {
  const rows = (unit: number): ExperimentRow[] => Array.from({ length: 40 }, (_, i) => ({ userId: `u${i}`, variant: i % 2 === 0 ? "A" : "B", clicks: (i + 1) * unit, impressions: 1 + ((i * 7) % 5), before: (1 + ((i * 3) % 11)) * unit }));
  const ratio = PLAN.metrics[0]!;
  const mean = { name: "ctr", kind: "mean", numerator: "clicks", role: "primary" } as const;
  const plans: [string, Partial<ExperimentPlan>][] = [
    ["a mean", { metrics: [mean] }],
    ["a ratio", { metrics: [ratio] }],
    ["a ratio after CUPED at every look", { metrics: [{ ...ratio, prePeriod: "before" }], sequential: { nStar: 40 } }],
    ["a mean after CUPED", { metrics: [{ ...mean, prePeriod: "before" }] }],
  ];

  it.each(plans)("%s ends with the same evidence or with an error that names the metric", async (_, change) => {
    const analyse = async (unit: number): Promise<ExperimentReport> => analyseExperiment(stream(rows(unit)), { ...PLAN, ...change });
    const plain = (await analyse(1)).comparisons[0]!.metrics[0]!.evidence!;
    for (const unit of [1e-80, 1e80]) {
      const { estimate, low, high, p } = (await analyse(unit)).comparisons[0]!.metrics[0]!.evidence!;
      for (const [found, expected] of [[estimate, plain.estimate], [low, plain.low], [high, plain.high], [p, plain.p]] as const) close(found, expected, 1e-6);
    }
    await expect(analyse(1e160)).rejects.toThrow(expect.objectContaining({ code: "SUMMARY_INVALID", message: expect.stringContaining("metric ctr") as string }) as Error);
  });
});

describe("verdict", () => {
  type Arms = Record<string, [control: number, treatment: number]>;
  const n = 10_000;
  const plan: ExperimentPlan = {
    ...PLAN,
    metrics: [
      { name: "ctr", kind: "mean", numerator: "ctr", role: "primary" },
      { name: "shares", kind: "mean", numerator: "shares", role: "primary" },
      { name: "watch", kind: "mean", numerator: "watch", role: "guardrail", limit: 0.04 },
      { name: "complaints", kind: "mean", numerator: "complaints", role: "guardrail", direction: "decrease", limit: 0.04 },
      { name: "likes", kind: "mean", numerator: "likes", role: "secondary" },
    ],
  };
  const level: Arms = { ctr: [1, 1], shares: [1, 1], watch: [1, 1], complaints: [1, 1], likes: [1, 1] };
  const judge = (change: Arms, options: { n?: [number, number]; variance?: number; plan?: Partial<ExperimentPlan> } = {}): ExperimentReport => {
    const [first, second] = options.n ?? [n, n];
    const chosen = { ...plan, ...options.plan };
    const planned = Object.entries({ ...level, ...change }).filter(([metric]) => chosen.metrics.some(({ name }) => name === metric));
    const summaries = planned.flatMap(([metric, [a, b]]) => [{ variant: "A", metric, mean: a, variance: options.variance ?? 1, n: first }, { variant: "B", metric, mean: b, variance: options.variance ?? 1, n: second }]);
    return analyseSummaries(summaries, chosen);
  };

  // One standard error of a relative lift is .0141 here, the detectable effect .0396 at 5 %.
  it.each([
    ["no difference, and enough users", {}, {}, "no-effect", /holds 0; 4\.\d+ % would be found/u],
    ["no difference, and too few users", {}, { variance: 4 }, "underpowered", /the plan wants 5\.000 %/u],
    ["a gain", { ctr: [1, 1.06] }, {}, "ship", /primary ctr is better: \+6\.000 %/u],
    ["a gain that Holm does not let pass", { ctr: [1, 1.03] }, {}, "no-effect", /primary ctr: the interval \[−0\./u],
    ["two gains, the weaker helped by Holm's second step", { ctr: [1, 1.06], shares: [1, 1.03] }, {}, "ship", /primary shares is better/u],
    ["a loss", { ctr: [1, 0.95] }, {}, "harm", /primary ctr is worse: −5\.000 %/u],
    ["a loss beside a gain", { ctr: [1, 0.95], shares: [1, 1.2] }, {}, "harm", /primary ctr is worse/u],
    ["a gain that hurts a guardrail", { ctr: [1, 1.06], watch: [1, 0.97] }, {}, "harm", /guardrail watch is worse: −3\.000 %/u],
    ["a guardrail for which less is better", { ctr: [1, 1.06], complaints: [1, 1.03] }, {}, "harm", /guardrail complaints is worse: \+3\.000 %/u],
    ["a guardrail that improves", { ctr: [1, 1.06], complaints: [1, 0.9] }, {}, "ship", /no guardrail reaches its limit/u],
    ["a gain with a guardrail that may have reached its limit", { ctr: [1, 1.06], watch: [1, 0.98] }, {}, "underpowered", /may be worse by up to 4\.\d+ %; its limit is 4\.000 %/u],
    ["no gain with a guardrail that may have reached its limit", { watch: [1, 0.98] }, {}, "no-effect", /holds 0[^]*guardrail watch may be worse by up to 4/u],
    ["a secondary metric decides nothing", { likes: [1, 2] }, {}, "no-effect", /primary/u],
    ["a sample ratio mismatch", { ctr: [1, 1.5] }, { n: [10_000, 10_600] }, "blocked", /sample ratio mismatch: A 10000, B 10600/u],
    ["a primary without variance", {}, { variance: 0 }, "blocked", /does not vary/u],
    ["a primary without baseline", { ctr: [0, 1] }, {}, "blocked", /control mean is 0/u],
  ] as [string, Arms, { n?: [number, number]; variance?: number }, string, RegExp][])("%s", (_, change, options, verdict, reason) => {
    const report = judge(change, options);
    expect(report.verdict).toBe(verdict);
    expect(report.reasons.join("\n")).toMatch(reason);
    expect(report.comparisons.length).toBe(verdict === "blocked" ? 0 : 1);
    expect(JSON.stringify(report)).not.toMatch(/NaN|Infinity/u);
  });

  it("waits longer when it may look early", () => {
    const sequential = { plan: { sequential: { nStar: 2 * n } } };
    expect(judge({ ctr: [1, 1.036] }, { plan: { metrics: plan.metrics.slice(0, 1) } }).verdict).toBe("ship");
    const early = judge({ ctr: [1, 1.036] }, { plan: { ...sequential.plan, metrics: plan.metrics.slice(0, 1) } });
    expect(early.verdict).toBe("underpowered");
    const { evidence, holm } = early.comparisons[0]!.metrics[0]!;
    expect(evidence).toMatchObject({ interval: "sequential" });
    expect(evidence!.p).toBeGreaterThan(0.05);
    expect(holm!.low).toBeCloseTo(evidence!.low, 12);
    expect(judge({ ctr: [1, 1.1], watch: [1, 1.03], complaints: [1, 0.97] }, sequential).verdict).toBe("ship");
    expect(judge({ ctr: [1, 1.1], watch: [1, 0.9] }, sequential).verdict).toBe("harm");
  });

  it("Holm's intervals exclude 0 exactly where the adjusted p is below alpha", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.9, max: 1.1, noNaN: true }), fc.double({ min: 0.9, max: 1.1, noNaN: true }), fc.boolean(), (first, second, isSequential) => {
        const report = judge({ ctr: [1, first], shares: [1, second] }, isSequential ? { plan: { sequential: { nStar: n } } } : {});
        for (const { holm } of report.comparisons[0]!.metrics) if (holm) expect(holm.low > 0 || holm.high < 0).toBe(holm.p < 0.05);
      }),
    );
  });

  it("compares every treatment with the control, and says whether an A/A experiment went as it should", () => {
    const three: ExperimentPlan = { ...plan, metrics: plan.metrics.slice(0, 1), variants: ["A", "B", "C"].map((name) => ({ name, share: 1 })) };
    const summaries = [["A", 1], ["B", 1.001], ["C", 1.2]].map(([variant, mean]) => ({ variant: variant as string, metric: "ctr", mean: mean as number, variance: 1, n }));
    const report = analyseSummaries(summaries, three);
    expect(report.comparisons.map(({ treatment, verdict }) => [treatment, verdict])).toEqual([["B", "no-effect"], ["C", "ship"]]);
    expect(report).toMatchObject({ verdict: "ship", isAsExpected: null, reasons: [expect.stringMatching(/^C: primary ctr is better/u) as string] });
    expect(judge({}, { plan: { mode: "aa" } }).isAsExpected).toBe(true);
    expect(judge({ ctr: [1, 1.2] }, { plan: { mode: "aa" } })).toMatchObject({ isAsExpected: false, reasons: expect.arrayContaining(["an A/A experiment should find no effect"]) as string[] });
  });

  it("states the users that the paper's effect takes: 34.6 million an arm", () => {
    const n = 1_000_000;
    const found = analyseSummaries(["A", "B"].map((variant) => ({ variant, metric: "ctr", mean: 1, variance: 1.5 ** 2, n })), { ...plan, metrics: plan.metrics.slice(0, 1) });
    expect((n / 1e6) * (found.comparisons[0]!.metrics[0]!.minimumDetectableEffect! / 0.00101) ** 2).toBeCloseTo(34.6, 1);
  });

  it.each([
    ["a missing arm", [{ variant: "A", metric: "ctr", mean: 1, variance: 1, n: 5 }]],
    ["an unknown metric", [{ variant: "A", metric: "x", mean: 1, variance: 1, n: 5 }]],
    ["unequal users", [5, 6].flatMap((users, i) => ["ctr", "shares"].map((metric, j) => ({ variant: i === 0 ? "A" : "B", metric, mean: 1, variance: 1, n: users + j })))],
  ])("refuses summaries with %s", (_, summaries) => expect(() => analyseSummaries(summaries, { ...plan, metrics: plan.metrics.slice(0, 2) })).toThrow(code("SUMMARY_INVALID")));

  it("blocks repeated users, empty arms and no data at all", async () => {
    const row = (userId: string, variant: string): ExperimentRow => ({ userId, variant, clicks: 1, impressions: 2 });
    const twice = await analyseExperiment(stream([row("a", "A"), row("a", "A"), row("b", "B"), row("c", "B"), row("d", "A")]), PLAN);
    expect(twice).toMatchObject({ verdict: "blocked", repeated: 1, comparisons: [], reasons: [expect.stringContaining("more than one row") as string] });
    expect((await analyseExperiment(stream([row("a", "A")]), PLAN)).reasons.join()).toContain("variant B has 0 users");
    const empty = await analyseExperiment(stream<ExperimentRow>([]), PLAN);
    expect(empty).toMatchObject({ verdict: "blocked", srm: null });
    expect(JSON.stringify(empty)).not.toMatch(/NaN|Infinity/u);
  });
});

describe("slices by drama", () => {
  const plan: ExperimentPlan = { ...PLAN, slices: ["quality", "genre"] };
  const items = Array.from({ length: 40 }, (_, d) => ["A", "B"].map((variant): ItemRow => ({ dramaId: `d${d}`, variant, clicks: 10 + (d % 7) + (variant === "B" ? (d % 3) : 0), impressions: 100 + d, quality: 1 + (d % 2), genre: d === 0 ? null : "__proto__" }))).flat();
  const users = simulateUsers(4, 500);

  it("clusters the variance by drama", async () => {
    const report = await analyseExperiment(stream(users), plan, { items: stream(items) });
    const slice = report.slices.find(({ column: name, value }) => name === "quality" && value === 1)!;
    // Leaving one drama out at a time estimates the same variance without any formula.
    const ratio = (left: number): number => {
      const sum = (variant: string, name: string): number => items.filter((row, i) => row.variant === variant && row["quality"] === 1 && Math.floor(i / 2) !== left).reduce((total, row) => total + (row[name] as number), 0);
      return sum("B", "clicks") / sum("B", "impressions") / (sum("A", "clicks") / sum("A", "impressions")) - 1;
    };
    const left = Array.from({ length: 20 }, (_, i) => ratio(2 * i));
    const mean = left.reduce((a, b) => a + b, 0) / 20;
    const jackknife = Math.sqrt((19 / 20) * left.reduce((sum, value) => sum + (value - mean) ** 2, 0));
    close(slice.estimate, ratio(-1));
    expect(slice.se! / jackknife).toBeCloseTo(1, 1);
    expect(slice).toMatchObject({ dramas: 20, warning: "few-dramas", treatment: "B", metric: "ctr" });
    expect(report.slices.map(({ column: name, value, dramas }) => [name, value, dramas])).toEqual([["quality", 1, 20], ["quality", 2, 20], ["genre", "__proto__", 39], ["genre", null, 1]]);
    expect(report.slices.at(-1)).toMatchObject({ se: null, undefined: "few-dramas" });
  });

  it("adds up rows, and refuses dramas that change their group and slices without a plan", async () => {
    const halves = items.flatMap((row) => [{ ...row, clicks: (row["clicks"] as number) - 1, impressions: 50 }, { ...row, clicks: 1, impressions: (row["impressions"] as number) - 50 }]);
    const whole = (await analyseExperiment(stream(users), plan, { items: stream(items) })).slices;
    agree((await analyseExperiment(stream(users), plan, { items: stream(halves.reverse()) })).slices, whole);
    await expect(analyseExperiment(stream(users), plan, { items: stream([items[0]!, { ...items[1]!, quality: 5 }]) })).rejects.toThrow(code("ROW_INVALID"));
    await expect(analyseExperiment(stream(users), PLAN, { items: stream(items) })).rejects.toThrow(code("SLICES_MISSING"));
  });
});
