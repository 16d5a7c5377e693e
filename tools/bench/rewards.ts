import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { performance } from "node:perf_hooks";
import { createRewardPool, maxWeightMatching, prepareReference, scoreCompletion, type RewardReference, type RewardSettings } from "@dramascope/rewards";
import { createRandom } from "@dramascope/schema";
import { maxMatchingSum as hungarianSum, score as plainScore } from "./peers/rewards/plain.mjs";
import { makeWorkload } from "./peers/rewards/workload.mjs";
import { median, type Bench } from "./result.ts";
import { pythonMicroseconds } from "./rewards-python.ts";

type Script = "ascii" | "cjk";
interface Prompt {
  reference: RewardReference;
  completions: string[];
}
type Scores = Record<"caption" | "comments" | "accuracy" | "format" | "total", number>;

const PROMPTS = 4;
const GROUP = 16;
const GOAL = 10;
const PYTHON_GOAL = 60;

const settingsOf = (script: Script): RewardSettings => ({ tokenizer: script === "cjk" ? "mixed" : "rouge-score" });
const workOf = (script: Script): Prompt[] => makeWorkload(PROMPTS, 7, script);

/** CPU milliseconds of this process. */
function cpu(work: () => void): number {
  const start = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

interface Race {
  ours: number[];
  peer: number[];
  /** Largest difference of any value. */
  worst: number;
}

/** CPU microseconds a completion, both sides in turn in this process. */
function race(script: Script, rounds: number): Race {
  const work = workOf(script);
  const settings = settingsOf(script);
  const plain = (): Scores[] => work.flatMap(({ reference, completions }) => completions.map((text) => plainScore(text, reference, settings) as Scores));
  const ours = (): Scores[] =>
    work.flatMap(({ reference, completions }) => {
      const prepared = prepareReference(reference, settings);
      return completions.map((text) => scoreCompletion(text, prepared) as Scores);
    });
  const [theirs, mine] = [plain(), ours()];
  const names = ["caption", "comments", "accuracy", "format", "total"] as const;
  const worst = Math.max(...theirs.flatMap((one, i) => names.map((name) => Math.abs(one[name] - mine[i]![name]))));
  for (let n = 0; n < 30; n++) ours();
  const result: Race = { ours: [], peer: [], worst };
  const perCompletion = 1000 / (PROMPTS * GROUP);
  for (let n = 0; n < rounds; n++) {
    result.peer.push(cpu(plain) * perCompletion);
    result.ours.push((cpu(() => {
      for (let k = 0; k < 8; k++) ours();
    }) / 8) * perCompletion);
  }
  return result;
}

/** Batches of 64 over threads: completions a second, and CPU of the whole process against one thread's. */
async function poolFigures(rounds: number): Promise<Record<string, unknown>> {
  const work = workOf("ascii");
  const items = work.flatMap(({ reference, completions }) => completions.map((completion) => ({ reference, completion })));
  const alone = (): void => {
    for (const { reference, completions } of work) {
      const prepared = prepareReference(reference);
      for (const text of completions) scoreCompletion(text, prepared);
    }
  };
  const workers = availableParallelism();
  const pool = createRewardPool({ workers });
  const one: number[] = [];
  const all: number[] = [];
  const cpuShare: number[] = [];
  for (let n = 0; n < 30; n++) await pool.score(items);
  for (let n = 0; n < rounds; n++) {
    const times = 20;
    let start = performance.now();
    const aloneCpu = cpu(() => {
      for (let k = 0; k < times; k++) alone();
    });
    one.push(performance.now() - start);
    start = performance.now();
    const before = process.cpuUsage();
    // Two batches at a time, as a trainer's processes send them.
    for (let k = 0; k < times / 2; k++) await Promise.all([pool.score(items), pool.score(items)]);
    const used = process.cpuUsage(before);
    all.push(performance.now() - start);
    cpuShare.push(aloneCpu / ((used.user + used.system) / 1000));
  }
  await pool.close();
  const perSecond = (milliseconds: number): number => Math.round((20 * items.length * 1000) / milliseconds);
  return { workers, oneThreadPerSecond: perSecond(Math.min(...one)), poolPerSecond: perSecond(Math.min(...all)), speedup: Math.min(...one) / Math.min(...all), goal: 0.8 * workers, cpuEfficiency: median(cpuShare) };
}

/** CPU microseconds of one matching of 10 generated with 20 real comments, and of larger ones. */
function matchingFigures(): Record<string, unknown> {
  const random = createRandom(5);
  return Object.fromEntries(
    ([[10, 20, 300], [20, 20, 300], [100, 100, 4]] as const).map(([height, width, count]) => {
      const matrices = Array.from({ length: count }, () => Array.from({ length: height }, () => Array.from({ length: width }, () => (random.below(3) === 0 ? 0 : random.uniform()))));
      const least = (solve: (matrix: number[][]) => number): number => Math.min(...Array.from({ length: 5 }, () => (cpu(() => matrices.forEach(solve)) * 1000) / count));
      const worst = Math.max(...matrices.map((matrix) => Math.abs((hungarianSum(matrix)) - maxWeightMatching(matrix).sum)));
      return [`${height}x${width}`, { ours: least((matrix) => maxWeightMatching(matrix).sum), munkres: least((matrix) => hungarianSum(matrix)), worst }];
    }),
  );
}

interface HostileCase {
  id: string;
  parts: (string | { repeat: string; times: number })[];
  options: RewardSettings;
}

/** Most milliseconds that a hostile completion may take, by the first fitting start of its id. */
const HOSTILE_LIMITS = [["33b", 100], ["35", 5], ["36", 5], ["3", 50]] as const;

/** CPU milliseconds of the hostile completions 33 … 36, least of five, and whether each keeps its limit. */
function hostileFigures(): { milliseconds: Record<string, number>; met: boolean } {
  const { reference, cases } = JSON.parse(readFileSync(new URL("../../test-fixtures/goldens/rewards/adversarial.json", import.meta.url), "utf8")) as { reference: RewardReference; cases: HostileCase[] };
  const hostile = cases.filter(({ id }) => /^3[3-6]/u.test(id));
  const milliseconds = Object.fromEntries(
    hostile.map(({ id, parts, options }) => {
      const text = parts.map((part) => (typeof part === "string" ? part : part.repeat.repeat(part.times))).join("");
      const prepared = prepareReference(reference, options);
      return [id, Math.min(...Array.from({ length: 5 }, () => cpu(() => scoreCompletion(text, prepared))))] as const;
    }),
  );
  return { milliseconds, met: Object.entries(milliseconds).every(([id, taken]) => taken < HOSTILE_LIMITS.find(([start]) => id.startsWith(start))![1]) };
}

/** One completion's rewards, one thread, against the obvious implementation; ratio of the slower script. */
export const bench: Bench = async ({ isQuick, withPython, say }) => {
  const rounds = isQuick ? 3 : 9;
  const scripts: Record<string, unknown> = {};
  let least: { ratio: number; ours: number; peer: number } | undefined;
  let isEqual = true;
  for (const script of ["ascii", "cjk"] as const) {
    const { ours, peer, worst } = race(script, rounds);
    const python = pythonMicroseconds(script, settingsOf(script).tokenizer!, { mayInstall: withPython, repeats: isQuick ? 1 : 3, say });
    const figures = { ratio: Math.min(...peer) / Math.min(...ours), ours: Math.min(...ours), peer: Math.min(...peer) };
    scripts[script] = { ...figures, oursMedian: median(ours), peerMedian: median(peer), worst, python, pythonRatio: python === null ? null : python / figures.ours, pythonGoal: PYTHON_GOAL };
    say(`${script}: ours ${figures.ours.toFixed(1)} µs, plain ${figures.peer.toFixed(0)} µs, Python ${python === null ? "not here" : `${python} µs`}; largest difference ${worst}`);
    isEqual &&= worst <= 1e-12;
    if (least === undefined || figures.ratio < least.ratio) least = figures;
  }
  const pool = await poolFigures(rounds);
  const { ratio, ours, peer } = least!;
  return {
    name: "rewards",
    ratio,
    goal: `at least ${GOAL} times faster than the plain implementation, values within 1e-12`,
    met: ratio >= GOAL && isEqual,
    ours,
    peer,
    unit: "µs of CPU a completion",
    runs: rounds,
    peerName: "plain.mjs (munkres-js)",
    extra: { scripts, pool, matchingMicroseconds: matchingFigures(), hostile: hostileFigures() },
  };
};
