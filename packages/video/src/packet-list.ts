import { failureOf } from "./decode-failure.ts";
import { VideoError } from "./errors.ts";
import { INPUT_GUARDS, startFfmpeg } from "./ffmpeg-process.ts";
import type { SourceFile } from "./source-file.ts";

/** What ffmpeg's demuxer says about a file's first video track. */
export interface PacketList {
  codec: string;
  /** Pixels as coded, before rotation and sample aspect. */
  codedWidth: number;
  codedHeight: number;
  sampleAspect: [number, number];
  /** Seconds from the start of the file to the end of the last packet; undefined when the list was cut. */
  end: number | undefined;
  packets: number;
  /** A step between pictures is more than twice the smallest one and longer than 50 ms. */
  hasVariableRate: boolean;
  isInterlaced: boolean;
  /** PQ or HLG transfer. */
  isHdr: boolean;
  /** The stream says which matrix its colours use. */
  hasColourMatrix: boolean;
  /** Degrees clockwise, by the display matrix. */
  rotation: 0 | 90 | 180 | 270;
}

const OUTPUT_LIMIT = 8 * 2 ** 20;
const TIMEOUT_MS = 30_000;
const LOG_CHARACTERS = 64 * 1024;
const NO_TIME = "-9223372036854775808";
const KNOWN_MATRIX = /^(?:bt709|bt470bg|smpte170m|smpte240m|bt2020nc|bt2020c|ycgco|fcc|ictcp|gbr)(?:\/|$)/u;

/** Lines of the packet list, read as they come, so that ten hours of packets stay small. */
class PacketReader {
  timeBase = 0;
  dimensions: [number, number] | undefined;
  sampleAspect: [number, number] = [1, 1];
  packets = 0;
  end = 0;
  readonly times: number[] = [];
  #rest = "";

  add(chunk: string): void {
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    if (line.startsWith("#")) {
      const ratio = /^#(?<name>tb|dimensions|sar) 0: (?<a>\d+)[/x](?<b>\d+)/u.exec(line)?.groups;
      if (!ratio) return;
      const pair: [number, number] = [Number(ratio["a"]), Number(ratio["b"])];
      if (ratio["name"] === "tb") this.timeBase = pair[0] / pair[1];
      else if (ratio["name"] === "dimensions") this.dimensions = pair;
      else if (pair[0] > 0 && pair[1] > 0) this.sampleAspect = pair;
      return;
    }
    const [, , pts, duration] = line.split(",").map((cell) => cell.trim());
    if (pts === undefined || duration === undefined) return;
    this.packets++;
    if (pts === NO_TIME) return;
    this.times.push(Number(pts));
    this.end = Math.max(this.end, (Number(pts) + Number(duration)) * this.timeBase);
  }
}

function variesIn(times: number[], timeBase: number): boolean {
  times.sort((a, b) => a - b);
  const steps = times.slice(1).map((time, i) => (time - times[i]!) * timeBase).filter((step) => step > 0);
  const smallest = steps.reduce((least, step) => Math.min(least, step), Infinity);
  // Millisecond clocks round: a third of a millisecond more than twice is no change of rate.
  return steps.some((step) => step > 2 * smallest + 1e-9 && step > 0.05);
}

/**
 * `yuv420p10le(tv, bt2020nc/bt2020/smpte2084, top first)` of the mapped input stream. The file's own words, which are untrusted, are
 * indented by more than two spaces.
 */
function pixelTags(log: string): string[] {
  const mapped = /^ {2}Stream #0:(?<index>\d+) -> #0:0 \(copy\)$/mu.exec(log)?.groups?.["index"];
  const line = log.split("\n").find((text) => text.startsWith(`  Stream #0:${mapped}`) && /^\D/u.test(text.slice(`  Stream #0:${mapped}`.length)) && text.includes(": Video: "));
  return /, [a-z0-9]+\((?<tags>[^)]*(?:\(swapped\))?)\), \d+x\d+/u.exec(line ?? "")?.groups?.["tags"]?.split(",").map((tag) => tag.trim()) ?? [];
}

function rotationIn(log: string): PacketList["rotation"] {
  const inputPart = log.split("Stream mapping:")[0]!;
  const turn = Number(/rotation of (?<degrees>-?\d+(?:\.\d+)?) degrees/u.exec(inputPart)?.groups?.["degrees"] ?? 0);
  return ((((Math.round(-turn / 90) * 90) % 360) + 360) % 360) as PacketList["rotation"];
}

/**
 * Lists the packets of the first video track that is not a cover picture, by a guarded ffmpeg that decodes nothing.
 *
 * @throws VideoError when ffmpeg cannot read the file.
 */
export async function listPackets(file: SourceFile, ffmpegPath: string, signal?: AbortSignal): Promise<PacketList> {
  const child = startFfmpeg(ffmpegPath, ["-v", "info", ...INPUT_GUARDS, "-i", `file:${file.realPath}`, "-map", "0:V:0", "-c", "copy", "-f", "framecrc", "pipe:1"], { cpuSeconds: 60, logCharacters: LOG_CHARACTERS });
  const reader = new PacketReader();
  let bytes = 0;
  let isCut = false as boolean; // set while output is read
  let stop: VideoError | undefined;
  const halt = (error: VideoError): void => {
    stop ??= error;
    child.kill();
  };
  const timer = setTimeout(() => halt(new VideoError(`${file.path}: reading its packets took more than ${TIMEOUT_MS / 1000} s`, { code: "VIDEO_TIMEOUT", path: file.path, hint: "The file is damaged, or the machine is overloaded." })), TIMEOUT_MS);
  const onAbort = (): void => halt(new VideoError(`${file.path}: the work was cancelled`, { code: "VIDEO_CANCELLED", path: file.path, hint: "Run again to continue." }));
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      const { done, value } = (await child.output.next().catch(() => ({ done: true }))) as IteratorResult<Buffer, undefined>;
      if (done) break;
      bytes += value.length;
      isCut = bytes > OUTPUT_LIMIT;
      if (isCut) child.kill();
      else reader.add(value.toString("latin1"));
    }
    const end = await child.end;
    if (stop) throw stop;
    if (!isCut && (end.code !== 0 || reader.dimensions === undefined)) throw failureOf(file.path, end, child.log.text);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    child.kill();
  }
  const [codedWidth, codedHeight] = reader.dimensions ?? [0, 0];
  const tags = pixelTags(child.log.text);
  const { log } = child;
  return {
    codec: /Video: (?<codec>\w+)/u.exec(log.text)?.groups?.["codec"] ?? "unknown",
    codedWidth,
    codedHeight,
    sampleAspect: reader.sampleAspect,
    end: isCut ? undefined : reader.end,
    packets: reader.packets,
    hasVariableRate: variesIn(reader.times, reader.timeBase),
    isInterlaced: tags.some((tag) => /^(?:top|bottom) (?:coded )?first/u.test(tag)),
    isHdr: tags.some((tag) => /(?:^|\/)(?:smpte2084|arib-std-b67)$/u.test(tag)),
    hasColourMatrix: tags.some((tag) => KNOWN_MATRIX.test(tag)),
    rotation: rotationIn(log.text),
  };
}
