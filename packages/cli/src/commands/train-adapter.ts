import { access } from "node:fs/promises";
import { join, resolve } from "node:path";
import { exportAdapter, findCheckpoint, mergeAdapter, readLineage } from "@dramascope/trainer";
import type { Command } from "commander";
import { defineCommand, usageError, type CliIo, type SetExitCode } from "../context.ts";
import { CliError } from "../errors.ts";
import { loadTensorFlowFor } from "../model.ts";
import { hashWeights, weightFiles } from "../weight-hashes.ts";

interface ExportCliOptions {
  run: string;
  checkpoint: string;
  out: string;
}

interface MergeCliOptions {
  model: string;
  adapter: string;
  out: string;
  dtype?: string;
  verify?: boolean;
}

const DTYPES = ["float32", "bfloat16", "float16"] as const;

function dtypeOf(given: string | undefined): (typeof DTYPES)[number] | undefined {
  const dtype = DTYPES.find((name) => name === given);
  if (given !== undefined && dtype === undefined) throw usageError(`--dtype wants ${DTYPES.join(" or ")}, got ${JSON.stringify(given)}`);
  return dtype;
}

const isThere = (path: string): Promise<boolean> => access(path).then(() => true, () => false);

/** A checkpoint of a run keeps its lineage elsewhere, so that its base could not be checked. */
async function refuseNoAdapter(adapter: string): Promise<void> {
  if (await isThere(join(adapter, "state.json"))) throw new CliError(`${adapter} is a checkpoint of a run, not an adapter`, { code: "ADAPTER_CHECKPOINT", hint: "Take the adapter out of it first: dramascope train export --run RUN --checkpoint STEP --out DIR." });
  for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
    if (!(await isThere(join(adapter, name)))) throw new CliError(`${adapter} holds no ${name}`, { code: "ADAPTER_NOT_FOUND", hint: "Give the folder of a PEFT adapter, as train export writes it." });
  }
}

/** The lineage of an adapter names the hash of its base, perhaps with how that was kept. */
async function refuseOtherBase(model: string, adapter: string): Promise<void> {
  const known = await readLineage(adapter);
  if (known === undefined || !/^[0-9a-f]{64}\b/u.test(known.model)) return;
  const sha256 = await hashWeights(model);
  if (!known.model.startsWith(sha256)) throw new CliError(`the adapter ${adapter} was trained on another model than ${model}: ${known.model.slice(0, 12)}…, not ${sha256.slice(0, 12)}…`, { code: "MODEL_MISMATCH", hint: "Give the folder of the model that the training file named." });
}

/** `dramascope train export` and `dramascope train merge` */
export function addTrainAdapter(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<ExportCliOptions>(group, io, setExitCode, {
    name: "export",
    summary: "take the adapter out of a checkpoint, as a PEFT folder",
    example: "dramascope train export --run runs/sft --checkpoint best --out adapters/sft-best",
    configure: (command) =>
      command
        .requiredOption("--run <dir>", "folder of the run")
        .option("--checkpoint <which>", "latest, best, or a step", "latest")
        .requiredOption("--out <dir>", "a new folder, or an adapter's, which is replaced"),
    run: async (_context, { run, checkpoint, out }) => {
      const found = await findCheckpoint(run, checkpoint);
      const { hasEffect } = await exportAdapter(found, out);
      const note = hasEffect ? "" : "; it changes nothing, for all its B matrices are zero";
      return { json: { adapter: resolve(out), checkpoint: found, hasEffect }, text: `${resolve(out)}, from ${found}${note}\n` };
    },
  });
  defineCommand<MergeCliOptions>(group, io, setExitCode, {
    name: "merge",
    summary: "fold an adapter into its base model, as a checkpoint of its own",
    example: "dramascope train merge --model models/Qwen2.5-VL-3B-Instruct --adapter runs/grpo/adapter --out models/judge --verify",
    configure: (command) =>
      command
        .requiredOption("--model <dir>", "the base model")
        .requiredOption("--adapter <dir>", "PEFT folder")
        .requiredOption("--out <dir>", "a new folder, or a checkpoint's, which is replaced")
        .option("--dtype <type>", `element type of the files: ${DTYPES.join(" or ")}; default the base's`)
        .option("--verify", "load the result and compare its logits with those of base and adapter; what cannot be told from the base is refused"),
    run: async (context, { model, adapter, out, dtype, verify }) => {
      const wanted = dtypeOf(dtype);
      await weightFiles(model);
      await refuseNoAdapter(adapter);
      await refuseOtherBase(model, adapter);
      const { tf, version, device } = await loadTensorFlowFor(model);
      context.say(`merging with TensorFlow ${version}, ${device}`);
      const result = await mergeAdapter(model, adapter, out, { tf, ...(wanted && { dtype: wanted }), verify: verify ? "logits" : "none", signal: context.signal });
      const { difference, effect } = result;
      const compared = difference === null || effect === null ? "" : `; logits differ by ${difference.toExponential(1)} of the largest, the adapter changes them by ${effect.toExponential(1)}`;
      return { json: { model: resolve(out), ...result }, text: `${resolve(out)} in ${result.dtype}${compared}\n` };
    },
  });
}
