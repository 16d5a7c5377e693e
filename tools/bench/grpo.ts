import { compareGradients, type GradientChecks } from "./grpo-checks.ts";
import { drawGrowth, GROWTH_PAGE, growthTable, measureGrowth, type Runner } from "./grpo-growth.ts";
import { adapterOf, requestOf, startOurStep, startTorchStep, type OurSetting, type StepAnswer, type StepShape, type StepSide, type Way } from "./grpo-side.ts";
import { checkpointOf, type ModelName } from "./model-checkpoint.ts";
import { findPython } from "./model-python.ts";
import { median, type Bench } from "./result.ts";

const GOALS = { unshared: 5, shared: 0.7, bfloat16: 1.5, memory: 0.5 };

/** Steps by model: 16 completions, as in training. */
const SHAPES: Readonly<Record<ModelName, StepShape>> = {
  tiny: { prompt: 512, completions: 16, tokens: 64, micro: 4 },
  medium: { prompt: 2048, completions: 16, tokens: 128, micro: 2 },
};

const SETTINGS: readonly OurSetting[] = [
  { threads: 1, dtype: "float32", products: "float32" },
  { threads: 1, dtype: "bfloat16", products: "bfloat16" },
  { threads: 1, dtype: "bfloat16", products: "float32" },
  { threads: 2, dtype: "float32", products: "float32" },
];

/** Figures of one way of a side. */
interface Figures {
  least: number;
  median: number;
  /** Memory that the first step added at most, MiB. */
  addedMiB: number;
  loss: number;
  gradNorm: number;
}

/** One setting of one model; ways are `ours shared`, {@link CHUNKED}, `ours unshared`, `torch shared` and `torch unshared`. */
interface Case extends OurSetting {
  model: ModelName;
  ways: Record<string, Figures>;
}

/** Seconds of one thread are processor seconds, which other programs on the machine do not stretch; of several threads those of the clock. */
const cost = ({ seconds, cpuSeconds }: StepAnswer, threads: number): number => (threads === 1 ? cpuSeconds : seconds);

/** Our shared step with as many completions at once as an unshared one has. */
const CHUNKED = "ours shared, in chunks";

interface Racer {
  side: StepSide;
  way: Way;
  /** Completions at once, of a shared step of ours. Default all. */
  chunk?: number;
}

/** Rounds in which every way does one step; the first round, which builds functions and fills caches, is not timed. Memory is that of a process's first step. */
async function race(sides: ReadonlyMap<string, Racer>, shape: StepShape, threads: number, rounds: number): Promise<Record<string, Figures>> {
  const all = new Map<string, StepAnswer[]>(Array.from(sides.keys(), (name) => [name, []]));
  for (let round = 0; round <= rounds; round++) for (const [name, { side, way, chunk }] of sides) all.get(name)!.push(await side.ask(requestOf("step", way, chunk === undefined ? shape : { ...shape, chunk })));
  return Object.fromEntries(
    Array.from(all, ([name, [first, ...timed]]): [string, Figures] => {
      const still = [first!, ...timed].find(({ tokens, moved }) => tokens !== shape.completions * shape.tokens || !(moved > 0));
      if (still !== undefined) throw new Error(`${name}: a step took ${still.tokens} tokens and moved the adapter by ${still.moved}`);
      const seconds = timed.map((answer) => cost(answer, threads));
      return [name, { least: Math.min(...seconds), median: median(seconds), addedMiB: Math.round(first!.peakMiB - first!.startMiB), loss: first!.loss, gradNorm: first!.gradNorm }];
    }),
  );
}

/**
 * A GRPO step (forward, backward, clip, AdamW on LoRA) of small decoders: the prompt computed once or in every completion, here and in torch, same weights, adapter,
 * data and threads. The peer's matrices are float32 in every setting.
 */
export const bench: Bench = async ({ isQuick, withPython, say }) => {
  const python = findPython(withPython, say);
  if (python === null) say("a Python with torch, transformers and peft is not here: only our side runs");
  const rounds = isQuick ? 1 : 3;
  let peerName = "torch (missing)";
  const opener = async (model: ModelName, setting: OurSetting): Promise<{ ours: () => Promise<StepSide>; torch: (() => Promise<StepSide>) | null }> => {
    const [folder, adapter] = [await checkpointOf(model, say), await adapterOf(model, say)];
    return { ours: () => startOurStep(folder, adapter, setting), torch: python === null ? null : () => startTorchStep(python, folder, adapter, setting.threads) };
  };

  const plain = SETTINGS[0]!;
  const small = await opener("tiny", plain);
  const [ours, torch] = [await small.ours(), (await small.torch?.()) ?? null];
  const checks: GradientChecks = await compareGradients(ours, torch, SHAPES.tiny);
  ours.end();
  torch?.end();
  say(`gradients: shared and unshared ${checks.unshared.gradients.toExponential(1)} apart, in chunks ${checks.chunked.gradients.toExponential(1)}, torch ${checks.torch?.gradients.toExponential(1) ?? "not here"}`);

  const cases: Case[] = [];
  for (const setting of isQuick ? SETTINGS.slice(0, 1) : SETTINGS) {
    for (const model of isQuick ? (["tiny"] as const) : (["tiny", "medium"] as const)) {
      const { ours, torch } = await opener(model, setting);
      // A process for each way, so that the memory of one is not found warm by the other.
      const sides = new Map<string, Racer>();
      for (const way of ["shared", "unshared"] as const) {
        // Unshared steps are slow, and tell nothing more of other types.
        if (way === "unshared" && setting.dtype === "bfloat16") continue;
        sides.set(`ours ${way}`, { side: await ours(), way });
        if (way === "unshared") sides.set(CHUNKED, { side: await ours(), way: "shared", chunk: SHAPES[model].micro });
        if (torch !== null) sides.set(`torch ${way}`, { side: await torch(), way });
      }
      peerName = sides.get("torch shared")?.side.name ?? peerName;
      const ways = await race(sides, SHAPES[model], setting.threads, rounds);
      for (const { side } of sides.values()) side.end();
      cases.push({ ...setting, model, ways });
      say(`${model}, ${setting.dtype}, products ${setting.products}, threads ${setting.threads}: ${Object.entries(ways).map(([name, { least, addedMiB }]) => `${name} ${least.toFixed(2)} s +${addedMiB} MiB`).join("; ")}`);
    }
  }

  const { ours: openOurs, torch: openTorch } = small;
  const runners: Runner[] = [
    { name: "ours shared", way: "shared", open: openOurs },
    { name: "ours unshared", way: "unshared", open: openOurs },
    ...(openTorch === null ? [] : [{ name: "torch shared", way: "shared", open: openTorch } satisfies Runner]),
  ];
  const base = { ...SHAPES.tiny, prompt: isQuick ? 512 : 2048 };
  const places = isQuick ? { completions: [1, 4, 16], prompts: [512, 1024] } : { completions: [1, 2, 4, 8, 16], prompts: [512, 1024, 2048, 4096] };
  const growth = await measureGrowth(runners, { base, ...places, warmUp: !isQuick });
  await drawGrowth(growth, base);
  say(`${growthTable([...growth.byCompletions, ...growth.byPrompt])}\n  charts: ${GROWTH_PAGE}`);

  const of = (name: ModelName, setting: Partial<OurSetting>): Case[] => cases.filter((one) => one.model === name && Object.entries(setting).every(([key, value]) => one[key as keyof OurSetting] === value));
  const headModel: ModelName = isQuick ? "tiny" : "medium";
  /** The worst of a ratio over the cases; NaN without both ways. */
  const worst = (chosen: readonly Case[], over: string, what: "least" | "addedMiB" = "least"): number =>
    chosen.map(({ ways }) => (ways[over] === undefined ? Number.NaN : ways[over][what] / ways["ours shared"]![what])).reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const exact = of(headModel, { dtype: "float32" });
  const ratios = {
    torchUnshared: worst(exact, "torch unshared"), torchShared: worst(exact, "torch shared"), oursUnshared: worst(exact, "ours unshared"),
    bfloat16: worst(of(headModel, { products: "bfloat16" }), "torch shared"), bfloat16Exact: worst(of(headModel, { dtype: "bfloat16", products: "float32" }), "torch shared"),
    memory: 1 / worst(exact, "ours unshared", "addedMiB"), memoryInChunks: Math.max(...exact.map(({ ways }) => ways[CHUNKED]!.addedMiB / ways["ours unshared"]!.addedMiB)), memoryOfTorch: 1 / worst(exact, "torch unshared", "addedMiB"),
  };
  const head = exact[0]!.ways;
  return {
    name: "grpo",
    ratio: ratios.torchUnshared,
    goal: `a shared step at least ${GOALS.unshared} times faster than torch's unshared one, at least ${GOALS.shared} times as fast as torch's shared one, with at most ${GOALS.memory} times the added memory of unshared; equal gradients`,
    met: checks.met && ratios.torchUnshared >= GOALS.unshared && ratios.torchShared >= GOALS.shared && ratios.memoryOfTorch <= GOALS.memory,
    ours: Number(head["ours shared"]!.least.toFixed(3)),
    peer: head["torch unshared"]?.least ?? null,
    unit: "s",
    runs: rounds,
    peerName,
    extra: { ratios, aims: { torchShared: 1, bfloat16: GOALS.bfloat16 }, shapes: SHAPES, checks, cases, growth },
  };
};
