import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { frameManifest, parseRecord, type GrpoSample, type SftSample, type TrainingSample, type VideoReference } from "@dramascope/schema";
import { createSampleEncoder, describePlan, planRun, trainGrpo, trainSft, type GrpoConfig, type OriginatedSetting, type RunPlan, type SftConfig, type TrainResult } from "@dramascope/trainer";
import { Command } from "commander";
import { defineCommand, type CliIo, type CommandContext, type SetExitCode } from "../context.ts";
import { loadModel, loadTensorFlowFor, weightIdentity } from "../model.ts";
import { frameLoader, manifestPath, openTrainProject, readSamples, type TrainProject } from "../train-project.ts";
import { sheetWriter } from "../train-sheets.ts";
import { addTrainAdapter } from "./train-adapter.ts";

interface TrainOptions {
  config: string;
  preset?: string;
  set?: string[];
  plan?: boolean;
  printConfig?: boolean;
  allowDrift?: boolean;
}

const isGrpo = (config: SftConfig | GrpoConfig): config is GrpoConfig => "numGenerations" in config;

/** A plan for a run that begins; a run that goes on has been compared with its own. */
async function planFresh(project: TrainProject, samples: readonly TrainingSample[], context: CommandContext): Promise<RunPlan | undefined> {
  const isThere = await access(join(project.config.runDir, "run.json")).then(() => true, () => false);
  if (isThere) return undefined;
  const planned = await plan(project, samples, context);
  context.say(describePlan(planned));
  return planned;
}

async function train(project: TrainProject, samples: readonly TrainingSample[], options: TrainOptions, context: CommandContext): Promise<TrainResult> {
  const { say, progress, signal } = context;
  const { config, weights, timeBase, data, featureCache } = project;
  const planned = options.plan === false ? undefined : await planFresh(project, samples, context);
  const { model, sha256, tensorflow } = await loadModel(project.model, context, weights);
  const loadFrames = frameLoader(data);
  const modelHash = weightIdentity(sha256, weights);
  const backend = `${tensorflow.binding ?? "wasm"} ${tensorflow.version}, ${tensorflow.device}, ${tensorflow.diagnostics.threads} ${tensorflow.diagnostics.threads === 1 ? "thread" : "threads"}`;
  const encoder = createSampleEncoder({ model, timeBase, loadFrames, ...(featureCache !== undefined && { featureCache: { folder: featureCache, tf: tensorflow.tf, identity: `${modelHash}, ${backend}`, onWarning: say } }) });
  const deps = {
    model, encoder, signal,
    onProgress: progress,
    onWarning: say,
    modelHash,
    backend,
    onDrift: options.allowDrift ? ("allow" as const) : ("refuse" as const),
    ...(planned && { plan: planned }),
    sheets: sheetWriter(join(config.runDir, "preview"), loadFrames),
  };
  try {
    return isGrpo(config) ? await trainGrpo(config, samples as GrpoSample[], deps) : await trainSft(config, samples as SftSample[], deps);
  } finally {
    encoder.dispose();
    model.dispose();
  }
}

/** Grids of a video, from its manifest alone. */
function gridReader(data: string): (video: VideoReference) => Promise<readonly [number, number, number]> {
  return async (video) => {
    const path = manifestPath(data, video);
    const { plan, frames } = parseRecord(frameManifest, JSON.parse(await readFile(path, "utf8")), path);
    return [Math.ceil(frames.length / 2), plan.height / 14, plan.width / 14];
  };
}

async function plan({ config, model, data, weights }: TrainProject, samples: readonly TrainingSample[], { signal, say }: CommandContext): Promise<RunPlan> {
  const { tf, version, device } = await loadTensorFlowFor(model);
  say(`measuring on TensorFlow ${version}, ${device}`);
  const { weightCache: _cache, ...load } = weights;
  return planRun(config, samples, { model, tf, load, gridOf: gridReader(data), loadFrames: frameLoader(data), signal });
}

/** Settings as YAML with the origin of each as a comment. */
function settingsText(origins: readonly OriginatedSetting[]): string {
  const lines = origins.map(({ name, value, origin }) => ({ setting: `${name}: ${JSON.stringify(value)}`, origin }));
  const width = Math.max(...lines.map(({ setting }) => setting.length));
  return lines.map(({ setting, origin }) => `${setting.padEnd(width)}  # ${origin}\n`).join("");
}

/** `dramascope train sft|grpo|export|merge` */
export function addTrain(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  const group = new Command("train").description("LoRA SFT and GRPO, of which the same command again resumes; adapters out of checkpoints and into models");
  for (const kind of ["sft", "grpo"] as const) {
    defineCommand<TrainOptions>(group, io, setExitCode, {
      name: kind,
      summary: kind === "sft" ? "teach answers" : "improve answers by rewards",
      example: `dramascope train ${kind} --config ${kind}.yaml --plan`,
      configure: (command) => {
        command
          .requiredOption("--config <file>", "YAML: model, data, runDir and the trainer's settings")
          .option("--set <path=value...>", "one setting over the file's, such as lora.r=16")
          .option("--plan", "say what the run will take, from measuring for seconds; trains nothing, writes nothing")
          .option("--no-plan", "begin at once; without it a new run first says what --plan says, and after three steps how that fits")
          .option("--print-config", "print every setting with where its value comes from, and end")
          .option("--resume", "go on with the run in runDir, as happens in any case")
          .option("--allow-drift", "go on although settings, data or back end changed; run.json then says what");
        return kind === "sft" ? command : command.option("--preset <name>", "paper, trl-1.13 or gspo; what the file sets overrides it");
      },
      run: async (context, options) => {
        const project = await openTrainProject(kind, options.config, { preset: options.preset, set: options.set, seed: context.seed });
        if (options.printConfig) return { json: { settings: project.origins }, text: settingsText(project.origins) };
        const samples = await readSamples(kind, project.data);
        if (options.plan) {
          const planned = await plan(project, samples, context);
          return { json: { ...planned }, text: `${describePlan(planned)}\n` };
        }
        const result = await train(project, samples, options, context);
        context.say(result.finished ? `finished after ${result.steps} steps: ${result.adapter ?? ""}` : `stopped after ${result.steps} steps; the same command goes on`);
        return { json: { ...result } };
      },
    });
  }
  addTrainAdapter(group, io, setExitCode);
  program.addCommand(group);
}
