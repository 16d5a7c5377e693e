import { basename } from "node:path";
import { assessFrames, type ScoreMode } from "@dramascope/assessor";
import { builtin, loadTemplate } from "@dramascope/prompts";
import { assessmentSection, renderReport } from "@dramascope/report";
import { hashJson, writeFileAtomically, writeJsonl, type Assessment } from "@dramascope/schema";
import { contactSheet, decodeDrama, eachFrame, type DramaFrames, type PlanOptions } from "@dramascope/video";
import { Option, type Command } from "commander";
import { defineCommand, parseCount, type CliIo, type CommandContext, type SetExitCode } from "../context.ts";
import { dramaAt } from "../episodes.ts";
import { hashWeights, loadModel, profileOf } from "../model.ts";

/** Options of one assessment command. */
interface AssessCommand {
  model: string;
  adapter?: string;
  mode: ScoreMode;
  prompt?: string;
  budget?: string;
}

/** One assessed drama with the frames behind it. */
interface AssessedDrama {
  assessment: Assessment;
  drama: DramaFrames;
}

/** Assesses dramas one after the other with one model. */
async function assessPaths(paths: readonly string[], options: AssessCommand, context: Pick<CommandContext, "say" | "progress" | "signal" | "seed">): Promise<AssessedDrama[]> {
  const { model, sha256 } = await loadModel(options.model, context);
  try {
    const profile = await profileOf(options.model, options.adapter);
    if (options.adapter !== undefined) model.setActiveAdapter((await model.attachLora(options.adapter, { name: "assess" })).name);
    const template = options.prompt === undefined ? (profile?.template ?? builtin("grpo")) : await loadTemplate(options.prompt);
    const maxNewTokens = profile?.maxNewTokens ?? 2048;
    const room = model.config.text.maxPositionEmbeddings - maxNewTokens - 1500;
    const plan: PlanOptions = { ...(profile?.plan ?? { tokenBudget: Math.max(256, Math.min(16_384, room)) }), ...(options.budget === undefined ? {} : { tokenBudget: parseCount("--budget", options.budget) }) };
    const assessed: AssessedDrama[] = [];
    for (const path of paths) {
      const { dramaId, episodes } = await dramaAt(path);
      const clock = profile?.clock ?? "continuous";
      const drama = await decodeDrama(episodes, { plan, clock, signal: context.signal, onProgress: context.progress });
      const assessment = await assessFrames(
        { dramaId, episodes: drama.episodes, frames: { strideSeconds: drama.plan.strideSeconds, clock }, warnings: [...drama.episodes.flatMap(({ manifest }) => manifest.warnings), ...(profile?.notice === undefined ? [] : [profile.notice])] },
        {
          model,
          template,
          format: profile?.answer ?? "tags",
          mode: options.mode,
          maxNewTokens,
          timeBase: profile?.timeBase ?? "pinned",
          ...(profile?.calibration ? { calibration: profile.calibration } : {}),
          ...(context.seed === undefined ? {} : { seed: context.seed }),
          identity: {
            model: { name: basename(options.model), sha256 },
            adapter: options.adapter === undefined ? null : { name: basename(options.adapter), sha256: await hashWeights(options.adapter) },
          },
          signal: context.signal,
          onProgress: context.progress,
        },
      );
      assessed.push({ assessment, drama });
      context.say(`${dramaId}: ${assessment.score === null ? assessment.status : `score ${assessment.score.toFixed(2)}`}, ${assessment.decision.action}`);
    }
    return assessed;
  } finally {
    model.dispose();
  }
}

/** One page with every assessed drama and what the model saw of it. */
async function assessmentReport(assessed: readonly AssessedDrama[]): Promise<string> {
  const sections = await Promise.all(
    assessed.map(async ({ assessment, drama }) =>
      assessmentSection(assessment, {
        title: assessment.dramaId,
        contactSheets: await Promise.all(drama.episodes.map(async (episode, i) => ({ bytes: await contactSheet(eachFrame(episode), { maxFrames: 40 }), alt: `Frames of episode ${i + 1}`, caption: `Episode ${i + 1}: ${episode.frameCount} frames of ${episode.width} × ${episode.height} pixels, ${episode.manifest.plan.tokens} tokens` }))),
      }),
    ),
  );
  return renderReport({
    title: assessed.length === 1 ? `Assessment of ${assessed[0]!.assessment.dramaId}` : `Assessment of ${assessed.length} dramas`,
    sections,
  });
}

/** `dramascope assess` */
export function addAssess(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<AssessCommand & { out?: string; report?: string }>(program, io, setExitCode, {
    name: "assess",
    summary: "judge dramas: score, distribution, reasons, decision",
    example: "dramascope assess drama-folder --model MODEL --adapter ADAPTER --out assessments.jsonl --report report.html",
    configure: (command) =>
      command
        .argument("<drama...>", "a video file, or a folder with one file an episode")
        .requiredOption("--model <dir>", "folder of a Qwen2.5-VL checkpoint")
        .option("--adapter <dir>", "folder of a LoRA adapter")
        .option("--out <file>", "JSONL of assessments; default stdout")
        .option("--report <file>", "page for people")
        .option("--prompt <file>", "own prompt; default the model's profile, else the built-in one")
        .option("--budget <tokens>", "visual tokens of all episodes together")
        .addOption(new Option("--mode <mode>", "how the score is made").choices(["greedy", "logprob", "ensemble", "direct"]).default("ensemble")),
    run: async (context, options, paths) => {
      const assessed = await assessPaths(paths, options, context);
      const records = assessed.map(({ assessment }) => assessment);
      if (options.out !== undefined) await writeJsonl(options.out, records);
      if (options.report !== undefined) await writeFileAtomically(options.report, await assessmentReport(assessed));
      return {
        json: { assessments: records, resultHash: hashJson(records.map(({ timings: _timings, ...rest }) => rest)), ...(options.report === undefined ? {} : { report: options.report }) },
        ...(options.out === undefined ? { text: records.map((record) => `${JSON.stringify(record)}\n`).join("") } : {}),
      };
    },
  });
}
