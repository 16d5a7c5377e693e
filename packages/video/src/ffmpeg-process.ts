import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import type { FramePipe } from "./frame-pipe.ts";

const MEMORY_KIB = 4_000_000;
const LOG_CHARACTERS = 8192;

/** How a process ended. */
export interface ProcessEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** It could not be started. */
  startError?: Error;
}

/** A running ffmpeg. */
export interface FfmpegProcess {
  /** The next piece of its output, valid until the next one is asked for; undefined at the end. While none is asked for, it waits. */
  read: () => Promise<Buffer | undefined>;
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

  get text(): string {
    return this.#text;
  }

  add(chunk: string): void {
    if (this.#text.length < LOG_CHARACTERS) this.#text += chunk.slice(0, LOG_CHARACTERS - this.#text.length);
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
  /** Gets all of stderr. */
  onLog?: (text: string) => void;
  /** Takes the output; default an ordinary pipe. */
  pipe?: FramePipe | undefined;
}

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
export function startFfmpeg(ffmpegPath: string, args: readonly string[], { cpuSeconds, onLog, pipe }: ProcessOptions): FfmpegProcess {
  const options = ["-nostdin", "-hide_banner", ...args];
  // One ulimit call with two options fails in dash, and everything after it would run without limits. macOS knows no limit of memory.
  const memoryLimit = process.platform === "darwin" ? "" : `ulimit -v ${MEMORY_KIB} && `;
  const script = `${memoryLimit}ulimit -t ${cpuSeconds} && exec "$0" "$@"`;
  const [program, programArgs] = HAS_SHELL ? ["/bin/sh", ["-c", script, ffmpegPath, ...options]] : [ffmpegPath, options];
  const child = spawn(program, programArgs, { stdio: ["ignore", pipe?.childEnd ?? "pipe", "pipe"], env: { PATH: process.env["PATH"] ?? "" }, detached: HAS_SHELL });
  pipe?.childEnd.destroy();
  const log = new FfmpegLog();
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    log.add(text);
    onLog?.(text);
  });
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
  const chunks = pipe?.chunks ?? ((child.stdout as Readable)[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>);
  const read = async (): Promise<Buffer | undefined> => {
    try {
      return (await chunks.next()).value;
    } catch {
      return undefined; // the pipe broke because the process was ended; its end tells why
    }
  };
  return { read, end, log, kill, cpuMs };
}
