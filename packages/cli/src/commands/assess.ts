import { basename } from "node:path";
import { assessDramas, type DramaToAssess, type ScoreMode } from "@dramascope/assessor";
import { builtin, loadTemplate } from "@dramascope/prompts";
import { assessmentSection, renderReport, type Section } from "@dramascope/report";
import { hashJson, writeFileAtomically, writeJsonl, type Assessment } from "@dramascope/schema";
import { contactSheet, decodeDrama, eachFrame, type DramaFrames, type PlanOptions } from "@dramascope/video";
import { Option, type Command } from "commander";
import { defineCommand, parseCount, type CliIo, type CommandContext, type SetExitCode } from "../context.ts";
import { dramaAt } from "../episodes.ts";
import { loadModel, profileOf } from "../model.ts";
import { hashWeights } from "../weight-hashes.ts";

/** Options of one assessment command. */
interface AssessCommand {
  model: string;
  adapter?: string;
  mode: ScoreMode;
  prompt?: string;
  budget?: string;
  report?: string;
  dtype: "float32" | "bfloat16";
  weightCache?: string;
}

/** A drama whose frames are there. */
interface DecodedDrama extends DramaToAssess {
  decoded: DramaFrames;
}

/** Results of one command. The frames are let go; what is left of them are small pictures. */
interface Assessed {
  assessments: Assessment[];
  /** One a drama, when a page is asked for. */
  sections: Section[];
}

/** A drama's part of the page, with small pictures of what the model saw. */
async function sectionOf(assessment: Assessment, { episodes }: DramaFrames): Promise<Section> {
  return assessmentSection(assessment, {
    title: assessment.dramaId,
    contactSheets: await Promise.all(
      episodes.map(async (episode, i) => ({
        bytes: await contactSheet(eachFrame(episode), { maxFrames: 40 }),
        alt: `Frames of episode ${i + 1}`,
        caption: `Episode ${i + 1}: ${episode.frameCount} frames of ${episode.width} × ${episode.height} pixels, ${episode.manifest.plan.tokens} tokens`,
      })),
    ),
  });
}

/** Assesses dramas one after the other with one model; a drama is decoded when it is its turn. */
async function assessPaths(paths: readonly string[], options: AssessCommand, context: Pick<CommandContext, "say" | "progress" | "signal" | "seed">): Promise<Assessed> {
  const { mode, report, dtype, weightCache } = options;
  const { model, sha256 } = await loadModel(options.model, context, { dtype, ...(weightCache === undefined ? {} : { weightCache }) });
  try {
    const profile = await profileOf(options.model, options.adapter);
    const adapter = options.adapter === undefined ? undefined : await model.attachLora(options.adapter, { name: "assess" });
    const template = options.prompt === undefined ? (profile?.template ?? builtin("grpo")) : await loadTemplate(options.prompt);
    const maxNewTokens = profile?.maxNewTokens ?? 2048;
    const room = model.config.text.maxPositionEmbeddings - maxNewTokens - 1500;
    const plan: PlanOptions = { ...(profile?.plan ?? { tokenBudget: Math.max(256, Math.min(16_384, room)) }), ...(options.budget === undefined ? {} : { tokenBudget: parseCount("--budget", options.budget) }) };
    const clock = profile?.clock ?? "continuous";
    const notices = profile?.notice === undefined ? [] : [profile.notice];
    if (adapter?.hasEffect === false) notices.push(`The adapter ${basename(options.adapter!)} was never trained: it changes nothing.`);

    async function* decodedDramas(): AsyncGenerator<DecodedDrama> {
      for (const path of paths) {
        const { dramaId, episodes } = await dramaAt(path);
        const decoded = await decodeDrama(episodes, { plan, clock, signal: context.signal, onProgress: context.progress });
        yield { dramaId, episodes: decoded.episodes, frames: { strideSeconds: decoded.plan.strideSeconds, clock }, warnings: [...decoded.episodes.flatMap(({ manifest }) => manifest.warnings), ...notices], decoded };
      }
    }

    const assessed: Assessed = { assessments: [], sections: [] };
    const results = assessDramas(decodedDramas(), {
      model,
      template,
      format: profile?.answer ?? "tags",
      modes: [mode],
      maxNewTokens,
      timeBase: profile?.timeBase ?? "pinned",
      ...(profile?.calibration ? { calibration: profile.calibration } : {}),
      ...(context.seed === undefined ? {} : { seed: context.seed }),
      identity: {
        model: { name: basename(options.model), sha256, ...(dtype === "float32" ? {} : { dtype }) },
        adapter: options.adapter === undefined ? null : { name: basename(options.adapter), sha256: await hashWeights(options.adapter) },
      },
      signal: context.signal,
      onProgress: context.progress,
    });
    for await (const { drama, assessments } of results) {
      const assessment = assessments.get(mode)!;
      assessed.assessments.push(assessment);
      if (report !== undefined) assessed.sections.push(await sectionOf(assessment, drama.decoded));
      context.say(`${drama.dramaId}: ${assessment.score === null ? assessment.status : `score ${assessment.score.toFixed(2)}`}, ${assessment.decision.action}`);
    }
    return assessed;
  } finally {
    model.dispose();
  }
}

/** `dramascope assess` */
export function addAssess(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<AssessCommand & { out?: string }>(program, io, setExitCode, {
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
        .addOption(new Option("--dtype <type>", "how matrices are kept and multiplied; bfloat16 halves their memory").choices(["float32", "bfloat16"]).default("float32"))
        .option("--weight-cache <dir>", "folder of your own for weights ready to use and their hashes; later starts read the weights only where they need them, and share the memory")
        .addOption(new Option("--mode <mode>", "how the score is made").choices(["greedy", "logprob", "ensemble", "direct"]).default("ensemble")),
    run: async (context, options, paths) => {
      const { assessments, sections } = await assessPaths(paths, options, context);
      if (options.out !== undefined) await writeJsonl(options.out, assessments);
      if (options.report !== undefined) {
        const title = assessments.length === 1 ? `Assessment of ${assessments[0]!.dramaId}` : `Assessment of ${assessments.length} dramas`;
        await writeFileAtomically(options.report, renderReport({ title, sections }));
      }
      return {
        json: { assessments, resultHash: hashJson(assessments.map(({ timings: _timings, ...rest }) => rest)), ...(options.report === undefined ? {} : { report: options.report }) },
        ...(options.out === undefined ? { text: assessments.map((record) => `${JSON.stringify(record)}\n`).join("") } : {}),
      };
    },
  });
}
