import { join } from "node:path";
import { contactSheet, extractFrames, type Clock, type FrameFormat } from "@dramascope/video";
import { writeFileAtomically } from "@dramascope/schema";
import type { Command } from "commander";
import { defineCommand, parseCount, type CliIo, type SetExitCode } from "../context.ts";
import { dramaAt } from "../episodes.ts";

/** `dramascope frames` */
export function addFrames(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<{ out: string; budget?: string; clock: Clock; format: FrameFormat; sheet?: boolean; allowTruncated?: boolean; allowDamaged?: boolean; ffmpeg?: string }>(program, io, setExitCode, {
    name: "frames",
    summary: "episodes become numbered 1-FPS frames inside a token budget",
    example: "dramascope frames episode-1.mp4 episode-2.mp4 --out frames --sheet",
    configure: (command) =>
      command
        .argument("<episode...>", "up to five video files, or one folder")
        .requiredOption("--out <dir>", "gets one folder an episode")
        .option("--budget <tokens>", "visual tokens of all episodes together")
        .option("--clock <which>", "continuous or episode", "continuous")
        .option("--format <form>", "jpeg, png or raw", "jpeg")
        .option("--sheet", "also a contact sheet of each episode")
        .option("--allow-truncated", "keep what came of a cut file")
        .option("--allow-damaged", "keep frames of a damaged stream")
        .option("--ffmpeg <path>", "the ffmpeg to use"),
    run: async ({ say, progress, signal }, options, inputs) => {
      const episodes = inputs.length === 1 ? (await dramaAt(inputs[0]!)).episodes : inputs.map((path) => ({ path }));
      const drama = await extractFrames(episodes, {
        out: options.out,
        format: options.format,
        clock: options.clock,
        ...(options.budget === undefined ? {} : { plan: { tokenBudget: parseCount("--budget", options.budget) } }),
        ...(options.ffmpeg === undefined ? {} : { ffmpegPath: options.ffmpeg }),
        allowTruncated: options.allowTruncated ?? false,
        allowDamaged: options.allowDamaged ?? false,
        signal,
        onProgress: progress,
      });
      if (options.sheet) for (const [i, episode] of drama.episodes.entries()) await writeFileAtomically(join(options.out, `episode-${i + 1}.png`), await contactSheet(episode));
      drama.episodes.forEach(({ frameCount, width, height, manifest }, i) => say(`episode ${i + 1}: ${frameCount} frames of ${width} x ${height}, ${manifest.plan.tokens} tokens${manifest.warnings.length > 0 ? `, ${manifest.warnings.join(", ")}` : ""}`));
      return { json: { plan: drama.plan, manifests: drama.manifests } };
    },
  });
}
