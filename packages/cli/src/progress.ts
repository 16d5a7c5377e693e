import type { OnProgress, Progress } from "@dramascope/schema";

/** How progress is shown. */
export type ProgressMode = "auto" | "tty" | "plain" | "json" | "off";

/** Shows progress until `end`. */
export interface ProgressView {
  report: OnProgress;
  /** Removes the running line. */
  end(): void;
}

/** Where progress goes and how time passes. */
export interface ProgressOptions {
  mode: ProgressMode;
  write: (text: string) => void;
  isTTY: boolean;
  env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds. */
  now: () => number;
}

const PLAIN_INTERVAL_MS = 30_000;
const PLAIN_SHARE = 0.05;
const TTY_INTERVAL_MS = 100;
/** Of the running line, which has to fit a terminal to be taken back. */
const MAX_WIDTH = 100;

const share = ({ done, total }: Progress): number | undefined => (total === undefined || total === 0 ? undefined : Math.min(1, done / total));

const duration = (seconds: number): string =>
  seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;

/** "sft 12/120 10 % · 25 s left · loss 1.2" */
function describe(progress: Progress, elapsedMs: number): string {
  const part = share(progress);
  const count = progress.total === undefined ? `${progress.done}` : `${progress.done}/${progress.total}`;
  const pieces = [`${progress.phase} ${count}${part === undefined ? "" : ` ${Math.round(part * 100)} %`}`];
  if (part !== undefined && part > 0 && part < 1 && elapsedMs > 2000) pieces.push(`${duration((elapsedMs / 1000) * (1 / part - 1))} left`);
  if (progress.note !== undefined) pieces.push(progress.note);
  return pieces.join(" · ");
}

/** A view in the asked mode; `auto` is a running line on a terminal, else dated lines. `CI` and `NO_COLOR` mean dated lines. */
export function createProgressView(options: ProgressOptions): ProgressView {
  const { write, now } = options;
  const quietTerminal = options.env["CI"] !== undefined || options.env["NO_COLOR"] !== undefined;
  const mode = options.mode === "auto" ? (options.isTTY && !quietTerminal ? "tty" : "plain") : options.mode;
  let phase = "";
  let startedAt = 0;
  let shownAt = -Infinity;
  let shownShare = 0;
  let lineOpen = false;
  const begin = (progress: Progress): void => {
    phase = progress.phase;
    startedAt = now();
    // A bare number at the very first tells nothing.
    shownAt = mode === "plain" && progress.total === undefined ? startedAt : -Infinity;
    shownShare = 0;
  };
  const clear = (): void => {
    if (lineOpen) write("\r\u001b[2K");
    lineOpen = false;
  };
  const views: Record<Exclude<ProgressMode, "auto">, OnProgress> = {
    off: () => undefined,
    json: (progress) => write(`${JSON.stringify({ event: "progress", ...progress })}\n`),
    tty: (progress) => {
      const done = progress.total !== undefined && progress.done >= progress.total;
      if (!done && now() - shownAt < TTY_INTERVAL_MS) return;
      shownAt = now();
      clear();
      write(`  ${describe(progress, now() - startedAt).slice(0, MAX_WIDTH)}`);
      lineOpen = true;
      if (done) {
        write("\n");
        lineOpen = false;
      }
    },
    plain: (progress) => {
      const part = share(progress) ?? 0;
      const done = progress.total !== undefined && progress.done >= progress.total;
      if (!done && now() - shownAt < PLAIN_INTERVAL_MS && part - shownShare < PLAIN_SHARE) return;
      if (done && shownShare >= 1) return;
      // Twenty lines for a phase that takes a second help nobody.
      if (!done && shownAt > -Infinity && now() - shownAt < 2000) return;
      shownAt = now();
      shownShare = part;
      write(`${new Date(now()).toISOString().slice(0, 19)}Z ${describe(progress, now() - startedAt)}\n`);
    },
  };
  return {
    report: (progress) => {
      if (progress.phase !== phase) begin(progress);
      views[mode](progress);
    },
    end: clear,
  };
}
