import { failureOf } from "./decode-failure.ts";
import { VideoError } from "./errors.ts";
import { INPUT_GUARDS, startFfmpeg } from "./ffmpeg-process.ts";
import type { SourceFile } from "./source-file.ts";

/** What ffmpeg's demuxer says about a file's first video track that is not a cover picture. */
export interface PacketList {
  /** ffmpeg's name. */
  codec: string;
  /** Pixels as stored, before rotation and sample aspect. */
  codedWidth: number;
  /** Pixels as stored. */
  codedHeight: number;
  /** Width to height of one stored pixel. */
  sampleAspect: [number, number];
  /** Degrees clockwise, by the display matrix. */
  rotation: 0 | 90 | 180 | 270;
  /** Seconds at which the file's clock starts. */
  fileStart: number;
  /** Seconds from the start of the clock to the end of the last packet. */
  end: number;
  /** Seconds that the container claims; undefined when it claims none. */
  claimedSeconds: number | undefined;
  /** The file ends before its index does. */
  isCut: boolean;
  /** Video tracks that are not cover pictures. */
  videoTracks: number;
  /** A step between pictures is more than twice the smallest one and longer than 50 ms. */
  hasVariableRate: boolean;
  isInterlaced: boolean;
  /** PQ or HLG transfer. */
  isHdr: boolean;
  /** The stream says which matrix its colours use. */
  hasColourMatrix: boolean;
}

const TIMEOUT_MS = 30_000;
const DISCARDED = 4;
const NO_TIME = "-9223372036854775808";
const KNOWN_MATRIX = /^(?:bt709|bt470bg|smpte170m|smpte240m|bt2020nc|bt2020c|ycgco|fcc|ictcp|gbr)(?:\/|$)/u;
/** Packets whose times are kept to judge the frame rate: eleven hours at 25 a second. */
const MAX_TIMES = 1_000_000;
const MAX_LINE = 4096;

/** Cuts a stream of text into lines; the rest of a line that is too long is left out. */
class LineReader {
  #rest = "";
  readonly #take: (line: string) => void;

  constructor(take: (line: string) => void) {
    this.#take = take;
  }

  add(chunk: string): void {
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop()!.slice(0, MAX_LINE);
    for (const line of lines) this.#take(line);
  }
}

/** Lines of the packet list. */
class Packets {
  dimensions: [number, number] | undefined;
  sampleAspect: [number, number] = [1, 1];
  end = 0;
  #timeBase = 0;
  readonly #times: number[] = [];

  take(line: string): void {
    if (line.startsWith("#")) {
      this.#header(line);
      return;
    }
    const [, , pts, duration] = line.split(",").map((cell) => cell.trim());
    if (pts === undefined || duration === undefined) return;
    // Packets that the edit list cuts off are marked: they are decoded, not shown.
    if (pts === NO_TIME || (Number(/ F=(?<flags>0x[0-9a-f]+)/iu.exec(line)?.groups?.["flags"] ?? 1) & DISCARDED) !== 0) return;
    if (this.#times.length < MAX_TIMES) this.#times.push(Number(pts));
    this.end = Math.max(this.end, (Number(pts) + Number(duration)) * this.#timeBase);
  }

  hasVariableRate(): boolean {
    // A list that is cut among reordered pictures has holes at its end.
    if (this.#times.length === MAX_TIMES) return false;
    const times = Float64Array.from(this.#times).sort();
    const steps = times.subarray(1).map((time, i) => (time - times[i]!) * this.#timeBase).filter((step) => step > 0);
    const smallest = steps.reduce((least, step) => Math.min(least, step), Infinity);
    return steps.some((step) => step > 2 * smallest + 1e-9 && step > 0.05);
  }

  #header(line: string): void {
    const ratio = /^#(?<name>tb|dimensions|sar) 0: (?<a>\d+)[/x](?<b>\d+)/u.exec(line)?.groups;
    if (!ratio) return;
    const pair: [number, number] = [Number(ratio["a"]), Number(ratio["b"])];
    if (ratio["name"] === "tb") this.#timeBase = pair[0] / pair[1];
    else if (ratio["name"] === "dimensions") this.dimensions = pair;
    else if (pair[0] > 0 && pair[1] > 0) this.sampleAspect = pair;
  }
}

const clock = (text: string): number => text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);

/**
 * What ffmpeg says of the file and its streams. The file's own words are untrusted: they stand only in the input's part, indented by more
 * than the two spaces that are looked for there, and are not copied to the output.
 */
class StreamNotes {
  fileStart = 0;
  claimedSeconds: number | undefined;
  videoTracks = 0;
  rotation: PacketList["rotation"] = 0;
  codec = "unknown";
  pixelTags: string[] = [];
  isCut = false;
  #part: "none" | "input" | "output" = "none";

  take(raw: string): void {
    const isNote = raw.startsWith("[info] ");
    const line = isNote ? raw.slice("[info] ".length) : raw;
    if (!isNote) this.isCut ||= /^\[.*\] \[error\] .*(?:: partial file|File ended prematurely)/u.test(line);
    else if (line.startsWith("Input #0, ")) this.#part = "input";
    else if (line.startsWith("Output #0, ")) this.#part = "output";
    else if (this.#part === "input") this.#input(line);
    else if (this.#part === "output") this.#output(line);
  }

  #input(line: string): void {
    const times = /^ {2}Duration: (?<duration>\d+:\d+:\d+\.\d+|N\/A)(?:, start: (?<start>-?\d+\.\d+))?/u.exec(line)?.groups;
    if (times) {
      this.claimedSeconds = times["duration"] === "N/A" ? undefined : clock(times["duration"]!);
      this.fileStart = Number(times["start"] ?? 0);
    } else if (/^ {2}Stream #0:\d+\D/u.test(line) && line.includes(": Video: ") && !line.includes("(attached pic)")) this.videoTracks++;
  }

  #output(line: string): void {
    const stream = /^ {2}Stream #0:0\b[^:]*: Video: (?<codec>\w+)(?<rest>.*)$/u.exec(line)?.groups;
    if (stream) {
      this.codec = stream["codec"]!;
      this.pixelTags = /, [a-z0-9]+\((?<tags>[^()]*(?:\(swapped\))?)\), \d+x\d+/u.exec(stream["rest"]!)?.groups?.["tags"]?.split(",").map((tag) => tag.trim()) ?? [];
    }
    const turn = /^ {4,}displaymatrix: rotation of (?<degrees>-?\d+(?:\.\d+)?) degrees/u.exec(line)?.groups?.["degrees"];
    if (turn !== undefined) this.rotation = ((((Math.round(-Number(turn) / 90) * 90) % 360) + 360) % 360) as PacketList["rotation"];
  }
}

/**
 * Lists the packets of the first video track that is not a cover picture, by a guarded ffmpeg that decodes nothing but the few pictures
 * that it needs to know the stream.
 *
 * @throws VideoError when ffmpeg cannot read the file.
 */
export async function listPackets(file: SourceFile, ffmpegPath: string, signal?: AbortSignal): Promise<PacketList> {
  const { path } = file;
  const packets = new Packets();
  const notes = new StreamNotes();
  const noteLines = new LineReader((line) => notes.take(line));
  const child = startFfmpeg(
    ffmpegPath,
    ["-nostats", "-v", "level+info", ...INPUT_GUARDS, "-i", `file:${file.realPath}`, "-map", "0:V:0", "-map_metadata", "-1", "-map_chapters", "-1", "-c", "copy", "-f", "framecrc", "pipe:1"],
    { cpuSeconds: 60, onLog: (text) => noteLines.add(text) },
  );
  let stop: VideoError | undefined;
  const halt = (error: VideoError): void => {
    stop ??= error;
    child.kill();
  };
  const timer = setTimeout(() => halt(new VideoError(`${path}: reading its packets took more than ${TIMEOUT_MS / 1000} s`, { code: "VIDEO_TIMEOUT", path, hint: "The file is damaged, or the machine is overloaded." })), TIMEOUT_MS);
  const onAbort = (): void => halt(new VideoError(`${path}: the work was cancelled`, { code: "VIDEO_CANCELLED", path, hint: "Run again to continue." }));
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted) onAbort();
  try {
    const lines = new LineReader((line) => packets.take(line));
    for (let chunk = await child.read(); chunk !== undefined; chunk = await child.read()) lines.add(chunk.toString("latin1"));
    const end = await child.end;
    if (stop) throw stop;
    if (end.code !== 0 || packets.dimensions === undefined) throw failureOf(path, end, child.log.text);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    child.kill();
  }
  const [codedWidth, codedHeight] = packets.dimensions;
  const { codec, rotation, fileStart, claimedSeconds, isCut, videoTracks, pixelTags } = notes;
  return {
    codec,
    codedWidth,
    codedHeight,
    sampleAspect: packets.sampleAspect,
    rotation,
    fileStart,
    end: packets.end,
    claimedSeconds,
    isCut,
    videoTracks,
    hasVariableRate: packets.hasVariableRate(),
    isInterlaced: pixelTags.some((tag) => /^(?:top|bottom) (?:coded )?first/u.test(tag)),
    isHdr: pixelTags.some((tag) => /(?:^|\/)(?:smpte2084|arib-std-b67)$/u.test(tag)),
    hasColourMatrix: pixelTags.some((tag) => KNOWN_MATRIX.test(tag)),
  };
}
