import { rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { contactSheet, eachFrame, extractFrames, FrameCache, planEpisodes, readFrames, type Clock, type DramaOptions, type DramaPlan, type EpisodeFailure, type EpisodeInput, type FrameFormat, type Overlay, type PlannedDrama } from "@dramascope/video";
import { writeFileAtomically } from "@dramascope/schema";
import { Option, type Command } from "commander";
import { defineCommand, parseCount, usageError, type CliIo, type CommandResult, type SetExitCode } from "../context.ts";
import { dramaAt } from "../episodes.ts";
import { describeError } from "../errors.ts";

interface FramesOptions {
  out?: string;
  budget?: string;
  clock: Clock;
  format: FrameFormat;
  number: boolean;
  position: NonNullable<Overlay["position"]>;
  sheet?: boolean;
  planOnly?: boolean;
  processes?: string;
  /** False for `--no-cache`, true for the default place. */
  cache: string | boolean;
  root?: string[];
  fetch?: boolean;
  allowTruncated?: boolean;
  allowDamaged?: boolean;
  ffmpeg?: string;
}

const isUrl = (text: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//iu.test(text);

/** The cache that was named, or the usual place, which may be done without. */
function cacheOf({ cache }: FramesOptions, env: CliIo["env"]): Pick<DramaOptions, "cache" | "cacheOptional"> {
  if (cache === false) return {};
  if (typeof cache === "string") return { cache: new FrameCache(cache) };
  const caches = env["XDG_CACHE_HOME"];
  return { cache: new FrameCache(join(caches === undefined || caches === "" ? join(homedir(), ".cache") : caches, "dramascope", "frames")), cacheOptional: true };
}

/** Columns of text, numbers to the right. */
function textTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => String(row[column]).length)));
  const line = (cells: readonly (string | number)[]): string => `${cells.map((cell, column) => (typeof cell === "number" ? String(cell).padStart(widths[column]!) : cell.padEnd(widths[column]!))).join("  ").trimEnd()}\n`;
  return line(head) + rows.map(line).join("");
}

function planTable({ plan, episodes }: PlannedDrama): string {
  const rows = episodes.map(({ episode, path, probe, plan: { frames, width, height, tokens }, labels, warnings }) => [
    episode + 1, basename(path), `${probe.displayWidth} x ${probe.displayHeight}`, probe.end.toFixed(2), frames, `${width} x ${height}`, tokens, `${labels[0]} to ${labels.at(-1)}`, warnings.join(" "),
  ]);
  return `${textTable(["#", "episode", "picture", "seconds", "frames", "frame", "tokens", "numbers", "warnings"], rows)}one frame every ${plan.strideSeconds} s, ${plan.totalTokens} tokens\n`;
}

interface EpisodeResult {
  path: string;
  ok: boolean;
  code?: string;
  frames: number;
  warnings: string[];
  manifest: string | null;
}

const sheetName = (episode: number): string => `contact-sheet-${episode}.png`;

/** Episodes in the order they were given. */
function resultOf(plan: DramaPlan, episodes: readonly { episode: number; path: string; frames: number; warnings: string[]; manifestPath: string | null }[], failures: readonly EpisodeFailure[]): { episodes: EpisodeResult[]; plan: DramaPlan } {
  const all = [
    ...episodes.map(({ episode, path, frames, warnings, manifestPath }) => ({ episode, result: { path, ok: true, frames, warnings, manifest: manifestPath } })),
    ...failures.map(({ episode, path, error }) => ({ episode, result: { path, ok: false, code: error.code, frames: 0, warnings: [], manifest: null } })),
  ];
  return { episodes: all.sort((a, b) => a.episode - b.episode).map(({ result }) => result), plan };
}

/** `dramascope frames` */
export function addFrames(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<FramesOptions>(program, io, setExitCode, {
    name: "frames",
    summary: "episodes become numbered 1-FPS frames inside a token budget",
    example: "dramascope frames episode-1.mp4 episode-2.mp4 --out frames --sheet",
    configure: (command) =>
      command
        .argument("<episode...>", "up to five video files, or one folder")
        .option("--out <dir>", "gets one folder an episode")
        .option("--budget <tokens>", "visual tokens of all episodes together")
        .addOption(new Option("--clock <which>", "the numbers run on over the episodes, or start again in each").choices(["continuous", "episode"]).default("continuous"))
        .addOption(new Option("--format <form>", "form of the frames").choices(["jpeg", "png", "raw"]).default("jpeg"))
        .option("--no-number", "leave the numbers out")
        .addOption(new Option("--position <place>", "place of the numbers").choices(["bottom_right", "bottom_left", "top_right", "top_left", "center"]).default("bottom_right"))
        .option("--sheet", "also a contact sheet of each episode")
        .option("--plan-only", "print the plan, decode nothing")
        .option("--processes <n>", "ffmpeg processes at once; default one for each core")
        .option("--cache <dir>", "folder of frames that are not decoded again; default in the user's cache folder")
        .option("--no-cache", "decode everything anew and keep nothing")
        .option("--root <dir...>", "folders that links may lead into; default the episode's own folder")
        .option("--fetch", "also fetch episodes from public https addresses")
        .option("--allow-truncated", "keep what came of a cut file")
        .option("--allow-damaged", "keep frames of a damaged stream")
        .option("--ffmpeg <path>", "the ffmpeg to use"),
    run: async ({ say, progress, signal }, options, inputs): Promise<CommandResult> => {
      if (!options.planOnly && options.out === undefined) throw usageError("--out is missing", "Name a folder for the frames, or ask for --plan-only.");
      const processes = options.processes === undefined ? undefined : parseCount("--processes", options.processes);
      if (processes === 0) throw usageError("--processes wants at least 1");
      const [first] = inputs;
      const isFolder = inputs.length === 1 && !isUrl(first!) && (await stat(first!).catch(() => undefined))?.isDirectory();
      const episodes: EpisodeInput[] = isFolder ? (await dramaAt(first!)).episodes : inputs.map((path) => ({ path }));
      const dramaOptions: DramaOptions = {
        clock: options.clock,
        overlay: { enabled: options.number, position: options.position },
        plan: options.budget === undefined ? {} : { tokenBudget: parseCount("--budget", options.budget) },
        ffmpegPath: options.ffmpeg,
        roots: options.root,
        processes,
        allowTruncated: options.allowTruncated,
        allowDamaged: options.allowDamaged,
        fetch: options.fetch ? {} : undefined,
        strict: false,
        signal,
        onProgress: progress,
      };
      const sayFailures = (failures: readonly EpisodeFailure[]): void => {
        for (const { error } of failures) io.stderr(describeError(error, false));
      };
      const exit = (failures: readonly EpisodeFailure[]): Pick<CommandResult, "exitCode"> => (failures.length > 0 ? { exitCode: 3 } : {});
      if (options.planOnly) {
        const planned = await planEpisodes(episodes, dramaOptions);
        sayFailures(planned.failures);
        return { json: { ...resultOf(planned.plan, planned.episodes.map((one) => ({ ...one, frames: one.plan.frames, manifestPath: null })), planned.failures) }, text: planTable(planned), ...exit(planned.failures) };
      }
      const out = options.out!;
      const drama = await extractFrames(episodes, { ...dramaOptions, ...cacheOf(options, io.env), out, format: options.format });
      // Sheets of an earlier run show other frames.
      for (let episode = 1; episode <= 5; episode++) await rm(join(out, sheetName(episode)), { force: true });
      if (options.sheet) for (const { episode, manifestPath } of drama.episodes) await writeFileAtomically(join(out, sheetName(episode + 1)), await contactSheet(eachFrame(await readFrames(manifestPath))));
      for (const { episode, manifest, warnings } of drama.episodes) {
        const { width, height, tokens } = manifest.plan;
        say(`episode ${episode + 1}: ${manifest.frames.length} frames of ${width} x ${height}, ${tokens} tokens${warnings.length > 0 ? `, ${warnings.join(", ")}` : ""}`);
      }
      sayFailures(drama.failures);
      return { json: { ...resultOf(drama.plan, drama.episodes.map((one) => ({ ...one, frames: one.manifest.frames.length })), drama.failures) }, ...exit(drama.failures) };
    },
  });
}
