import { checkpointOf, MODELS, type ModelName } from "./model-checkpoint.ts";
import { prefillMemory } from "./model-memory.ts";
import { findPython } from "./model-python.ts";
import { someIds, startOurs, startPeer, type Answer, type Dtype, type Request, type Side } from "./model-side.ts";
import { median, type Bench } from "./result.ts";

const GOALS = { generate: 5, shared: 2, prefill: 0.8 };
/** Answers of a rollout. */
const N = 16;
const ROLLOUT_ROUNDS = 2;

/** What both sides run with. */
interface Setting {
  threads: number;
  dtype: Dtype;
}

const SETTINGS: readonly Setting[] = [{ threads: 1, dtype: "float32" }, { threads: 2, dtype: "float32" }, { threads: 1, dtype: "bfloat16" }];

/** Work that both sides do: ours once a round, the peer in each of its ways. */
interface Case {
  name: string;
  request: Request;
  ways: readonly Request["task"][];
  rounds: number;
}

function casesOf(model: ModelName, isQuick: boolean): Case[] {
  const rounds = isQuick ? ROLLOUT_ROUNDS : 5;
  const prefills = (isQuick ? [2048] : [512, 2048]).map((length): Case => ({ name: `prefill ${length}`, request: { task: "prefill", ids: someIds(length) }, ways: ["prefill"], rounds }));
  const answers = (name: string, length: number, tokens: number, ways: Case["ways"]): Case => ({ name, request: { task: "generate", ids: someIds(length), n: N, tokens }, ways, rounds: ROLLOUT_ROUNDS });
  const [length, tokens] = isQuick ? [1024, 32] : [2048, 128];
  return [...prefills, answers("decode", 16, isQuick ? 64 : 128, ["generate"]), ...(model === "medium" ? [answers(`rollout ${length}+${tokens}`, length, tokens, ["generate", "shared"])] : [])];
}

/** Seconds of one thread are processor seconds, which other programs on the machine do not stretch; of several threads those of the clock. */
function costs(answers: readonly Answer[], threads: number): number[] {
  return answers.map(({ seconds, cpuSeconds }) => (threads === 1 ? cpuSeconds : seconds));
}

/** Figures of one case. */
interface Figures {
  name: string;
  ours: number;
  oursMedian: number;
  /** Tokens a second of ours: of the prompt in `prefill`, else of the answers. */
  tokensPerSecond: number;
  /** By the peer's way: least and median seconds, and how many times faster ours is. */
  peers: Map<Request["task"], { least: number; median: number; ratio: number }>;
  /** Largest difference of the logits of the last token. */
  logitDifference: number;
}

async function race(one: Case, ours: Side, peer: Side | null, threads: number): Promise<Figures> {
  const answers: Answer[] = [];
  const theirs = new Map<Request["task"], Answer[]>(peer === null ? [] : one.ways.map((way) => [way, []]));
  const { request } = one;
  if (request.task === "prefill") await ours.ask(request); // builds its functions
  for (let round = 0; round < one.rounds; round++) {
    answers.push(await ours.ask(request));
    for (const [way, list] of theirs) list.push(await peer!.ask({ ...request, task: way } as Request));
  }
  const mine = costs(answers, threads);
  const least = Math.min(...mine);
  const tokens = request.task === "prefill" ? request.ids.length : request.n * request.tokens;
  const differences = [...theirs.values()].flatMap(([first]) => first!.logits.map((value, i) => Math.abs(value - answers[0]!.logits[i]!)));
  return {
    name: one.name, ours: least, oursMedian: median(mine), tokensPerSecond: Math.round(tokens / least), logitDifference: Math.max(0, ...differences),
    peers: new Map([...theirs].map(([way, list]) => {
      const other = costs(list, threads);
      return [way, { least: Math.min(...other), median: median(other), ratio: Math.min(...other) / least }];
    })),
  };
}

/** Prefill, decoding and rollouts of small decoders against transformers with torch's fused attention, the same type of matrices and threads on both sides. The goals speak of float32. */
export const bench: Bench = async ({ isQuick, withPython, say }) => {
  const python = findPython(withPython, say);
  if (python === null) say("a Python with torch and transformers is not here: only our side runs");
  const cases: (Figures & Setting & { model: ModelName })[] = [];
  let peerName = "transformers (missing)";
  for (const { threads, dtype } of isQuick ? SETTINGS.slice(0, 1) : SETTINGS) {
    for (const model of Object.keys(MODELS) as ModelName[]) {
      const folder = await checkpointOf(model, say);
      const ours = await startOurs(folder, threads, dtype);
      const peer = python === null ? null : await startPeer(python, folder, threads, dtype);
      peerName = peer?.name ?? peerName;
      for (const one of casesOf(model, isQuick)) {
        const figures = await race(one, ours, peer, threads);
        cases.push({ ...figures, model, threads, dtype });
        const ratios = [...figures.peers].map(([way, { least, ratio }]) => `; ${way} ${least.toFixed(2)} s, ${ratio.toFixed(2)} times`).join("");
        say(`${model}, ${dtype}, ${one.name}, ${threads === 1 ? "1 thread" : `${threads} threads`}: ours ${figures.ours.toFixed(2)} s, ${figures.tokensPerSecond} tokens/s${ratios}`);
      }
      ours.end();
      peer?.end();
    }
  }
  const memory = await prefillMemory(await checkpointOf("medium", say), python, isQuick ? [2048, 4096] : [2048, 4096, 8192]);
  const exact = cases.filter(({ dtype }) => dtype === "float32");
  const medium = exact.filter(({ model }) => model === "medium");
  const worst = (way: Request["task"], begins: string): number => Math.min(...medium.filter(({ name }) => name.startsWith(begins)).map(({ peers }) => peers.get(way)?.ratio ?? Number.NaN));
  const ratios = { generate: worst("generate", "rollout"), shared: worst("shared", "rollout"), prefill: worst("prefill", "prefill 2048") };
  const logitDifference = Math.max(...exact.map((one) => one.logitDifference));
  const head = medium.find(({ name, peers }) => name.startsWith("rollout") && (python === null || peers.get("generate")?.ratio === ratios.generate))!;
  return {
    name: "model",
    ratio: ratios.generate,
    goal: `a rollout of ${N} answers at least ${GOALS.generate} times faster than transformers' generate and ${GOALS.shared} times faster than a torch loop with one prefill, prefill at least ${GOALS.prefill} times fused torch`,
    met: Object.entries(GOALS).every(([way, goal]) => ratios[way as keyof typeof ratios] >= goal) && logitDifference < 1e-3,
    ours: Number(head.ours.toFixed(3)),
    peer: head.peers.get("generate")?.least ?? null,
    unit: "s",
    runs: ROLLOUT_ROUNDS,
    peerName,
    extra: { ratios, logitDifference, memory, cases: cases.map(({ peers, ...one }) => ({ ...one, peers: Object.fromEntries(peers) })) },
  };
};
