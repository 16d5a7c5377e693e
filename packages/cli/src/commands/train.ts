import { dirname, resolve } from "node:path";
import { readJsonl, trainingSample, type GrpoSample, type SftSample, type TrainingSample } from "@dramascope/schema";
import { createSampleEncoder, trainGrpo, trainSft, type TrainResult } from "@dramascope/trainer";
import { readFrames } from "@dramascope/video";
import { Command } from "commander";
import { defineCommand, type CliIo, type CommandContext, type SetExitCode } from "../context.ts";
import { CliError } from "../errors.ts";
import { loadModel, readConfig, textSetting, weightIdentity, weightSettings } from "../model.ts";

async function train(kind: "sft" | "grpo", configPath: string, context: CommandContext): Promise<TrainResult> {
  const { say, progress, signal, seed } = context;
  const here = dirname(resolve(configPath));
  const { weights, rest } = weightSettings(await readConfig(configPath), configPath, here);
  const { model: modelFolder, data, timeBase = "pinned", ...settings } = rest;
  const at = (name: string, value: unknown): string => resolve(here, textSetting({ [name]: value }, name, configPath));
  if (timeBase !== "pinned" && timeBase !== "true-fps") throw new CliError(`${configPath}: timeBase is ${JSON.stringify(timeBase)}`, { code: "CONFIG_INVALID", hint: "Use pinned or true-fps." });
  const dataFile = at("data", data);
  const samples: TrainingSample[] = [];
  for await (const sample of readJsonl(dataFile, trainingSample)) if (sample.kind === kind) samples.push(sample);
  const { model, sha256 } = await loadModel(at("model", modelFolder), context, weights);
  const encoder = createSampleEncoder({
    model,
    timeBase,
    loadFrames: async ({ manifest, dramaId, episode }) => {
      if (manifest === undefined) throw new CliError(`${dataFile}: drama ${dramaId}, episode ${episode} names no frame manifest`, { code: "FRAMES_MISSING", hint: "Export the data with frames, see dramascope curate export." });
      return readFrames(resolve(dirname(dataFile), manifest));
    },
  });
  const config = { ...settings, runDir: at("runDir", settings["runDir"]), ...(typeof settings["adapter"] === "string" ? { adapter: resolve(here, settings["adapter"]) } : {}), ...(seed === undefined ? {} : { seed }) };
  const deps = { model, encoder, signal, onProgress: progress, onWarning: say, modelHash: weightIdentity(sha256, weights) };
  try {
    return kind === "sft" ? await trainSft(config, samples as SftSample[], deps) : await trainGrpo(config, samples as GrpoSample[], deps);
  } finally {
    encoder.dispose();
    model.dispose();
  }
}

/** `dramascope train sft|grpo` */
export function addTrain(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  const group = new Command("train").description("LoRA SFT and GRPO; the same command again resumes");
  for (const kind of ["sft", "grpo"] as const) {
    defineCommand<{ config: string }>(group, io, setExitCode, {
      name: kind,
      summary: kind === "sft" ? "teach answers" : "improve answers by rewards",
      example: `dramascope train ${kind} --config ${kind}.yaml`,
      configure: (command) => command.requiredOption("--config <file>", "YAML: model, data, runDir and the trainer's settings"),
      run: async (context, { config }) => {
        const result = await train(kind, config, context);
        context.say(result.finished ? `finished after ${result.steps} steps: ${result.adapter ?? ""}` : `stopped after ${result.steps} steps; the same command goes on`);
        return { json: { ...result } };
      },
    });
  }
  program.addCommand(group);
}
