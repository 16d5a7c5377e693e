import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import type { FramePipe } from "./frame-pipe.ts";

/** How a process ended. */
export interface ProcessEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** It could not be started. */
  startError?: Error;
}

/** A running ffmpeg. */
export interface FfmpegProcess {
  /** What it writes, in chunks that are valid until the next one is asked for. */
  output: AsyncIterator<Buffer>;
  end: Promise<ProcessEnd>;
  /** What it has written to stderr so far. */
  log: FfmpegLog;
  /** Ends it and everything that it started, at once. */
  kill: () => void;
  /** Processor milliseconds so far; undefined where the system does not tell. */
  cpuMs: () => number | undefined;
}

/** stderr of ffmpeg, counted line by line; only its first part is kept. */
class FfmpegLog {
  /** Lines that carry `[error]` or `[fatal]`. */
  errorLines = 0;
  /** Times that pictures changed their size. */
  sizeChanges = 0;
  #text = "";
  #rest = "";
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get text(): string {
    return this.#text;
  }

  add(chunk: string): void {
    if (this.#text.length < this.#limit) this.#text += chunk.slice(0, this.#limit - this.#text.length);
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop()!.slice(-4096);
    for (const line of lines) this.#count(line);
  }

  /** Counts a last line without a line end. */
  close(): void {
    this.#count(this.#rest);
    this.#rest = "";
  }

  #count(line: string): void {
    if (/\[(?:error|fatal)\]/u.test(line)) this.errorLines++;
    else if (line.includes("Changing video frame properties")) this.sizeChanges++;
  }
}

/** Options of {@link startFfmpeg}. */
export interface ProcessOptions {
  /** Limit of processor seconds. */
  cpuSeconds: number;
  /** Characters of stderr that are kept. Default 8192. */
  logCharacters?: number;
  /** Takes the output; default an ordinary pipe. */
  pipe?: FramePipe | undefined;
}

const MEMORY_KIB = 4_000_000;
const HAS_SHELL = process.platform !== "win32";
const TICK_MS = 10;

const alive = new Set<() => void>();
let isListening = false;

/** Children do not outlive this process when it exits by itself. One killed from outside closes their pipe, which ends them at the next frame. */
function endWithThisProcess(kill: () => void): void {
  alive.add(kill);
  if (isListening) return;
  isListening = true;
  process.on("exit", () => {
    for (const killOne of alive) killOne();
  });
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined && HAS_SHELL) process.kill(-child.pid, "SIGKILL");
    else child.kill("SIGKILL");
  } catch {
    // Gone already.
  }
}

/** User and system time of a process on Linux, in ticks of 10 ms. */
function cpuMsOf(pid: number | undefined): number | undefined {
  if (pid === undefined || process.platform !== "linux") return undefined;
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  } catch {
    return undefined;
  }
}

/** Options that every ffmpeg gets that reads a file of a stranger: local files of known formats only, one thread. */
export const INPUT_GUARDS: readonly string[] = ["-protocol_whitelist", "file,pipe", "-format_whitelist", "mov,matroska,mpegts,avi,flv", "-max_pixels", "16777216", "-reinit_filter", "0", "-threads", "1"];

/**
 * Starts ffmpeg under limits of memory and processor time, in a process group of its own, with nothing but PATH in its environment:
 * no proxy, no token.
 */
export function startFfmpeg(ffmpegPath: string, args: readonly string[], { cpuSeconds, logCharacters = 8192, pipe }: ProcessOptions): FfmpegProcess {
  const options = ["-nostdin", "-hide_banner", ...args];
  // One ulimit call with two options fails in dash, and everything after it would run without limits.
  const script = `ulimit -v ${MEMORY_KIB} && ulimit -t ${cpuSeconds} && exec "$0" "$@"`;
  const [program, programArgs] = HAS_SHELL ? ["/bin/sh", ["-c", script, ffmpegPath, ...options]] : [ffmpegPath, options];
  const child = spawn(program, programArgs, { stdio: ["ignore", pipe?.childEnd ?? "pipe", "pipe"], env: { PATH: process.env["PATH"] ?? "" }, detached: HAS_SHELL });
  pipe?.childEnd.destroy();
  const log = new FfmpegLog(logCharacters);
  child.stderr!.setEncoding("utf8").on("data", (text: string) => log.add(text));
  let lastCpuMs: number | undefined;
  const kill = (): void => {
    if (alive.delete(kill)) killGroup(child);
    // Unread output would keep the end from being noticed.
    child.stdout?.destroy();
    pipe?.close();
  };
  endWithThisProcess(kill);
  const end = new Promise<ProcessEnd>((resolve) => {
    child.on("error", (startError) => {
      alive.delete(kill);
      resolve({ code: null, signal: null, startError });
    });
    child.on("exit", () => alive.delete(kill));
    child.on("close", (code, signal) => {
      log.close();
      resolve({ code, signal });
    });
  });
  const cpuMs = (): number | undefined => {
    lastCpuMs = (child.exitCode === null ? cpuMsOf(child.pid) : undefined) ?? lastCpuMs;
    return lastCpuMs;
  };
  return { output: pipe?.chunks ?? (child.stdout as Readable)[Symbol.asyncIterator](), end, log, kill, cpuMs };
}
