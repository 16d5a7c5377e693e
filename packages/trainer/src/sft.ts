import type { Prompt } from "@dramascope/qwen-vl";
import type { SftSample } from "@dramascope/schema";
import { parseSftConfig, type SftConfigInput } from "./config.ts";
import { dropoutSeedAt } from "./dropout-seed.ts";
import { TrainerError } from "./errors.ts";
import { holdOut } from "./hold-out.ts";
import { checkLogProbs } from "./not-finite.ts";
import { openSession, type Evaluation, type StepOutcome } from "./session.ts";
import { cut, epochBatches } from "./sft-batches.ts";
import { callTokens, cutByTokens } from "./token-batches.ts";
import type { TrainDeps, TrainResult } from "./train-deps.ts";

/** A sample ready for the model. */
interface Answer {
  sampleId: string;
  prompt: Prompt;
  /** Its target's tokens and the end token. */
  ids: number[];
  /** What its tokens count in the loss. */
  weight: number;
}

const sum = (values: Float32Array): number => values.reduce((a, b) => a + b, 0);
const countTokens = (answers: readonly Answer[]): number => answers.reduce((total, { ids }) => total + ids.length, 0);
const groupsOf = (answers: readonly Answer[]): { prompt: Prompt; completions: number[][] }[] => answers.map(({ prompt, ids }) => ({ prompt, completions: [ids] }));

/** Answer tokens that greedy decoding would have written. */
function hitsOf({ logProbs, best }: { logProbs: Float32Array[][]; best?: Float32Array[][] }): number {
  return best!.reduce((total, [most], k) => total + most!.filter((value, t) => value === logProbs[k]![0]![t]!).length, 0);
}

/**
 * LoRA SFT. The loss is the summed negative log-likelihood over the answer's tokens, divided by their number in the whole step, so that it is the same
 * however the step is cut to fit into memory. Each step's samples are of like lengths, see `bucketWindow`.
 *
 * The same call again resumes the run in its folder; a finished run returns at once.
 */
export async function trainSft(settings: SftConfigInput, given: readonly SftSample[], deps: TrainDeps): Promise<TrainResult> {
  const config = parseSftConfig(settings);
  const { model, encoder } = deps;
  const end = model.generationConfig.eosTokenIds[0];
  if (end === undefined) throw new TrainerError("the model names no end token", { code: "NO_END_TOKEN", hint: "Add eos_token_id to its configuration." });
  const session = await openSession("sft", config, given, deps);
  const { samples, phases } = session;

  const load = async (batch: readonly SftSample[], signal?: AbortSignal): Promise<Answer[]> => {
    encoder.trim?.();
    const answers: Answer[] = [];
    for (const sample of batch) {
      signal?.throwIfAborted();
      const prompt = await phases.run("load", `sample ${sample.sampleId}`, () => encoder.encode(sample));
      answers.push({ sampleId: sample.sampleId, prompt, ids: [...model.tokenizer.encode(sample.target), end], weight: sample.weight ?? 1 });
    }
    return answers;
  };
  const callsOf = (answers: readonly Answer[]): number[][] => cutByTokens(answers.map(({ prompt, ids }) => ({ prompt: prompt.ids.length, answer: ids.length })), config.maxBatchTokens, callTokens(model.config));

  /** Adds the gradient of a step's loss to the trainable set's sums. */
  const learn = async (step: number, batch: readonly SftSample[], next: readonly SftSample[]): Promise<StepOutcome> => {
    const answers = await load(batch);
    encoder.prefetch?.(next);
    const tokens = countTokens(answers);
    let [loss, entropy, hits] = [0, 0, 0];
    for (const call of callsOf(answers)) {
      const own = call.map((i) => answers[i]!);
      const weights = own.map(({ weight }) => weight / tokens);
      const result = await phases.run("gradient", `step ${step + 1}`, () =>
        model.groupLogProbsWithGradient(groupsOf(own), {
          dropoutSeed: dropoutSeedAt(config.seed, step, call[0]),
          entropy: true,
          best: true,
          gradient: (logProbs) => {
            phases.lap("forward");
            for (const [k, rows] of logProbs.entries()) checkLogProbs(step + 1, own[k]!.sampleId, rows);
            const losses = logProbs.map(([values], k) => -sum(values!) * weights[k]!);
            return { loss: losses.reduce((x, y) => x + y, 0), dLogProbs: logProbs.map(([values], k) => [new Float64Array(values!.length).fill(-weights[k]!)]) };
          },
        }),
      );
      phases.lap("backward");
      loss += result.loss;
      entropy += result.entropy!.flat().reduce((total, values) => total + sum(values), 0);
      hits += hitsOf(result);
    }
    return { loss, tokens, metrics: { entropy: entropy / tokens, mean_token_accuracy: hits / tokens } };
  };

  /** Loss and accuracy on samples that are not trained on; nothing is dropped. */
  const evaluate = async (held: readonly SftSample[], step: number): Promise<Evaluation> => {
    let [loss, tokens, hits] = [0, 0, 0];
    for (const batch of cut(held, config.batchSize)) {
      const answers = await load(batch, deps.signal);
      tokens += countTokens(answers);
      for (const call of callsOf(answers)) {
        const own = call.map((i) => answers[i]!);
        const result = await phases.run("evaluate", `step ${step}`, () => model.groupLogProbs(groupsOf(own), { best: true, ...(deps.signal && { signal: deps.signal }) }));
        result.logProbs.forEach(([values], k) => (loss -= sum(values!) * own[k]!.weight));
        hits += hitsOf(result);
      }
    }
    return { score: -loss / tokens, metrics: { eval_loss: loss / tokens, eval_mean_token_accuracy: hits / tokens } };
  };

  try {
    const { training, held } = holdOut(samples, config.evalSamples, config.seed);
    const lengths = training.map((i) => session.lengths[i]!);
    const stepsPerEpoch = Math.ceil(training.length / config.batchSize);
    const totalSteps = stepsPerEpoch * config.epochs;
    let order: { epoch: number; batches: number[][] } | undefined;
    const batchOf = (step: number): SftSample[] => {
      if (step >= totalSteps) return [];
      const epoch = Math.floor(step / stepsPerEpoch);
      if (order?.epoch !== epoch) order = { epoch, batches: epochBatches(lengths, epoch, config) };
      return order.batches[step % stepsPerEpoch]!.map((i) => samples[training[i]!]!);
    };
    const compute = async (step: number): Promise<StepOutcome> => {
      const outcome = await learn(step, batchOf(step), batchOf(step + 1));
      return { ...outcome, metrics: { epoch: (step + 1) / stepsPerEpoch, ...outcome.metrics } };
    };
    return await session.run(totalSteps, compute, {
      evaluate: async (steps) => (held.length > 0 && (steps % config.evalSteps === 0 || steps === totalSteps) ? evaluate(held.map((i) => samples[i]!), steps) : undefined),
    });
  } finally {
    session.dispose();
  }
}
