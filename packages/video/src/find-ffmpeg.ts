import { execFile } from "node:child_process";
import { statSync, type Stats } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { VideoError } from "./errors.ts";

/** A usable ffmpeg. */
export interface Ffmpeg {
  path: string;
  version: string;
  /** Option, variable, package or PATH. */
  source: string;
  /** Places that were looked at before, with the reason. */
  tried: string[];
  /** It can turn HDR into ordinary colours (filters zscale, tonemap). */
  canToneMap: boolean;
  /** It has a decoder for AV1, which some files need. */
  canDecodeAv1: boolean;
}

/** Options of {@link findFfmpeg}. */
export interface FindFfmpegOptions {
  /** Used and nothing else. */
  ffmpegPath?: string | undefined;
  /** Default the process's. */
  env?: Readonly<Record<string, string | undefined>>;
}

interface Place {
  source: string;
  path: string | undefined;
  /** Unusable is an error, not a reason to look on. */
  isAsked: boolean;
  missing?: string;
}

const run = promisify(execFile);
const FILTERS = ["fps", "trim", "scale"];
const DECODERS = ["h264", "hevc", "vp9"];
/** ffmpeg's own av1 decoder needs a graphics card. */
const AV1_DECODER = /^ ?\S+ +lib(?:dav1d|aom-av1|gav1) /mu;

/** The file that a path names; undefined when there is none or it may not be looked at. */
function fileAt(path: string): Stats | undefined {
  try {
    const info = statSync(path, { throwIfNoEntry: false });
    return info?.isFile() ? info : undefined;
  } catch {
    return undefined;
  }
}

const isFile = (path: string): boolean => fileAt(path) !== undefined;

function fromPackage(): Place[] {
  const require = createRequire(import.meta.url);
  const place = (source: string, find: () => string): Place => {
    try {
      const path = find();
      return isFile(path) ? { source, path, isAsked: false } : { source, path: undefined, isAsked: false, missing: "its program is not there" };
    } catch {
      return { source, path: undefined, isAsked: false, missing: "the package is not installed" };
    }
  };
  const binary = `@ffmpeg-binary/${process.platform}-${process.arch}`;
  return [place("ffmpeg-static", () => require("ffmpeg-static") as string), place(binary, () => join(dirname(require.resolve(`${binary}/package.json`)), "ffmpeg"))];
}

function places({ ffmpegPath, env = process.env }: FindFfmpegOptions): Place[] {
  const onPath = (name: string): string | undefined => (env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "").map((folder) => join(folder, name)).find(isFile);
  const asked = (source: string, path: string): Place[] => [{ source, path: /[\\/]/u.test(path) ? path : (onPath(path) ?? path), isAsked: true }];
  if (ffmpegPath !== undefined) return asked("option ffmpegPath", ffmpegPath);
  for (const name of ["DRAMASCOPE_FFMPEG", "FFMPEG_BIN"]) if (env[name]) return asked(name, env[name]);
  return [...fromPackage(), { source: "PATH", path: onPath("ffmpeg"), isAsked: false, missing: "no ffmpeg on it" }];
}

type Examined = Pick<Ffmpeg, "version" | "canToneMap" | "canDecodeAv1"> | { problem: string };

/** Version and abilities of a program, or what keeps it from being used. */
async function examine(path: string): Promise<Examined> {
  try {
    const ask = async (...args: string[]): Promise<string> => (await run(path, ["-hide_banner", ...args], { timeout: 5000, maxBuffer: 4 << 20, killSignal: "SIGKILL", env: { PATH: process.env["PATH"] ?? "" } })).stdout;
    const version = /^ffmpeg version (?<version>\S+)/u.exec(await ask("-version"))?.groups?.["version"];
    if (version === undefined) return { problem: "it does not answer as ffmpeg" };
    const [filters, decoders] = [await ask("-filters"), await ask("-decoders")];
    const isMissing = (list: string) => (name: string): boolean => !new RegExp(`^ ?\\S+ +${name} `, "mu").test(list);
    const needed = [...FILTERS.filter(isMissing(filters)), ...DECODERS.filter(isMissing(decoders))];
    if (needed.length > 0) return { problem: `it lacks ${needed.join(", ")}` };
    return { version, canToneMap: !["zscale", "tonemap"].some(isMissing(filters)), canDecodeAv1: AV1_DECODER.test(decoders) };
  } catch (error) {
    return { problem: (error as Error).message.split("\n")[0]! };
  }
}

/** Good answers by path, time and size: a program that works is asked once. */
const examined = new Map<string, Promise<Examined>>();

async function examineOnce(path: string): Promise<Examined> {
  const info = fileAt(path);
  if (!info) return { problem: "there is no such file" };
  const key = `${path}\0${info.mtimeMs}\0${info.size}`;
  const answer = examined.get(key) ?? examine(path);
  examined.set(key, answer);
  if ("problem" in (await answer)) examined.delete(key);
  return answer;
}

/**
 * The first usable ffmpeg: the option, `DRAMASCOPE_FFMPEG`, `FFMPEG_BIN`, ffmpeg-static, @ffmpeg-binary/<platform>, PATH. One that was
 * asked for by name must work.
 *
 * @throws VideoError `FFMPEG_UNUSABLE`, or `FFMPEG_NOT_FOUND` listing every place.
 */
export async function findFfmpeg(options: FindFfmpegOptions = {}): Promise<Ffmpeg> {
  const tried: string[] = [];
  for (const { source, path, isAsked, missing } of places(options)) {
    if (path === undefined) {
      tried.push(`${source}: ${missing ?? "not there"}`);
      continue;
    }
    const found = await examineOnce(path);
    if ("version" in found) return { path, ...found, source, tried };
    if (isAsked) throw new VideoError(`${source} names ${path}: ${found.problem}`, { code: "FFMPEG_UNUSABLE", hint: "Point it at a working ffmpeg, or unset it." });
    tried.push(`${source}: ${found.problem}`);
  }
  throw new VideoError(`no usable ffmpeg was found (${tried.join("; ")})`, { code: "FFMPEG_NOT_FOUND", hint: "Install ffmpeg (apt install ffmpeg, npm install ffmpeg-static), or set DRAMASCOPE_FFMPEG." });
}
