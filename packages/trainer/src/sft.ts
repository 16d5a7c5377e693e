import type { Prompt } from "@dramascope/qwen-vl";
import type { SftSample } from "@dramascope/schema";
import { parseSftConfig, type SftConfigInput } from "./config.ts";
import { dropoutSeedAt } from "./dropout-seed.ts";
import { TrainerError } from "./errors.ts";
import { checkLogProbs } from "./not-finite.ts";
import { openSession, type TrainDeps, type TrainResult } from "./session.ts";
import { epochBatches } from "./sft-batches.ts";
import { cutByTokens } from "./token-batches.ts";

const sum = (values: Float32Array): number => values.reduce((a, b) => a + b, 0);

/**
 * LoRA SFT. The loss is the summed negative log-likelihood over the answer's tokens, divided by their number in the whole step, so that it is the same
 * however the step is cut to fit into memory.
 *
 * The same call again resumes the run in its folder; a finished run returns at once.
 */
export async function trainSft(settings: SftConfigInput, given: readonly SftSample[], deps: TrainDeps): Promise<TrainResult> {
  const config = parseSftConfig(settings);
  const { model, encoder } = deps;
  const end = model.generationConfig.eosTokenIds[0];
  if (end === undefined) throw new TrainerError("the model names no end token", { code: "NO_END_TOKEN", hint: "Add eos_token_id to its configuration." });
  const session = await openSession("sft", config, given, deps);
  const { samples, lengths } = session;
  const stepsPerEpoch = Math.ceil(samples.length / config.batchSize);
  try {
    return await session.run(stepsPerEpoch * config.epochs, async (step) => {
      const batch = epochBatches(lengths, Math.floor(step / stepsPerEpoch), config)[step % stepsPerEpoch]!.map((i) => samples[i]!);
      const targets = batch.map(({ target }) => [...model.tokenizer.encode(target), end]);
      const tokens = targets.reduce((sum, ids) => sum + ids.length, 0);
      const prompts: Prompt[] = [];
      for (const sample of batch) prompts.push(await session.phases.run("load", `sample ${sample.sampleId}`, () => encoder.encode(sample)));
      const weights = batch.map(({ weight = 1 }) => weight / tokens);
      const parts = cutByTokens(targets.map((ids, i) => ({ prompt: prompts[i]!.ids.length, answer: ids.length })), config.maxBatchTokens);
      let [loss, entropy, hits] = [0, 0, 0];
      for (const part of parts) {
        const result = await session.phases.run("gradient", `step ${step + 1}`, () =>
          model.groupLogProbsWithGradient(part.map((i) => ({ prompt: prompts[i]!, completions: [targets[i]!] })), {
            dropoutSeed: dropoutSeedAt(config.seed, step, part[0]),
            entropy: true,
            best: true,
            gradient: (logProbs) => {
              session.phases.lap("forward");
              for (const [k, rows] of logProbs.entries()) checkLogProbs(step + 1, batch[part[k]!]!.sampleId, rows);
              const losses = logProbs.map(([values], k) => -sum(values!) * weights[part[k]!]!);
              return { loss: losses.reduce((x, y) => x + y, 0), dLogProbs: logProbs.map(([values], k) => [new Float64Array(values!.length).fill(-weights[part[k]!]!)]) };
            },
          }),
        );
        session.phases.lap("backward");
        loss += result.loss;
        entropy += result.entropy!.flat().reduce((total, values) => total + sum(values), 0);
        hits += result.best!.reduce((total, [best], k) => total + best!.filter((value, t) => value === result.logProbs[k]![0]![t]!).length, 0);
      }
      return { loss, tokens, metrics: { epoch: (step + 1) / stepsPerEpoch, entropy: entropy / tokens, mean_token_accuracy: hits / tokens } };
    });
  } finally {
    session.dispose();
  }
}
