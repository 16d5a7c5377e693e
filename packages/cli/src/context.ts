import type { OnProgress } from "@dramascope/schema";
import { Command, Option } from "commander";
import { CliError, describeError, errorJson, exitCodeOf, type ExitCode } from "./errors.ts";
import { createProgressView, type ProgressMode } from "./progress.ts";

/** The outside world of a command; tests give their own. */
export interface CliIo {
  stdout: (text: string) => void;
  stderr: (text: string) => void;
  env: Readonly<Record<string, string | undefined>>;
  isTTY: boolean;
  /** Milliseconds since 1970. */
  now: () => number;
  /** Called once with the function to call when the user wants to stop; returns how to stop listening. */
  onStop: (stop: (code: 130 | 143) => void) => () => void;
}

/** What every command gets beside its own options. */
export interface CommandContext {
  io: CliIo;
  /** Aborted by the first SIGINT or SIGTERM. */
  signal: AbortSignal;
  seed: number | undefined;
  progress: OnProgress;
  /** One line for people on stderr; nothing under --quiet. */
  say: (text: string) => void;
  /** A line on stderr about what went wrong, under --quiet as well. */
  complain: (text: string) => void;
}

/** What a command hands back: the object that `--json` prints, and an exit code if it is not 0. */
export interface CommandResult {
  json: Record<string, unknown>;
  /** Text for stdout when `--json` is not given. */
  text?: string;
  /** 0 says that being stopped is how the command ends, as for a server. Default: 0, or 130 or 143 when it was stopped. */
  exitCode?: ExitCode;
}

interface CommonOptions {
  json?: boolean;
  progress: ProgressMode;
  seed?: string;
  quiet?: boolean;
  verbose?: boolean;
}

/** Receives the exit code of the command that ran. */
export type SetExitCode = (code: ExitCode) => void;

/** Options that every command takes. */
function withCommonOptions(command: Command): Command {
  return command
    .option("--json", "print one JSON object on stdout at the end")
    .addOption(new Option("--progress <mode>", "how progress is shown").choices(["auto", "tty", "plain", "json", "off"]).default("auto"))
    .option("--seed <n>", "seed of everything random")
    .option("--quiet", "errors only")
    .option("--verbose", "stack traces with errors");
}

/** Adds a command whose action reports errors as code, sentence, hint and an exit code. */
export function defineCommand<Options extends object>(
  parent: Command,
  io: CliIo,
  setExitCode: SetExitCode,
  definition: {
    name: string;
    summary: string;
    example: string;
    configure?: (command: Command) => Command;
    run: (context: CommandContext, options: Options, positional: string[]) => Promise<CommandResult>;
  },
): void {
  const command = withCommonOptions(new Command(definition.name).description(definition.summary)).addHelpText("after", `\nExample:\n  ${definition.example}\n`);
  definition.configure?.(command);
  command.action(async (...values: unknown[]) => {
    const options = command.opts<Options & CommonOptions>();
    const positional = (values.slice(0, -2) as (string | string[] | undefined)[]).flatMap((value) => value ?? []);
    const view = createProgressView({ mode: options.quiet ? "off" : options.progress, write: io.stderr, isTTY: io.isTTY, env: io.env, now: io.now });
    const abort = new AbortController();
    let stopCode: ExitCode | undefined;
    const release = io.onStop((code) => {
      stopCode = code;
      view.end();
      io.stderr("stopping: what is under way may end; once more stops at once\n");
      abort.abort();
    });
    const complain = (text: string): void => {
      view.end();
      io.stderr(`${text}\n`);
    };
    const say = (text: string): void => {
      if (!options.quiet) complain(text);
    };
    try {
      const seed = options.seed === undefined ? undefined : parseCount("--seed", options.seed);
      const result = await definition.run({ io, signal: abort.signal, seed, progress: view.report, say, complain }, options, positional);
      view.end();
      if (options.json) io.stdout(`${JSON.stringify(result.json)}\n`);
      else if (result.text !== undefined) io.stdout(result.text);
      setExitCode(result.exitCode === 0 ? 0 : (stopCode ?? result.exitCode ?? 0));
    } catch (error) {
      view.end();
      if (stopCode === undefined) io.stderr(describeError(error, options.verbose === true));
      if (options.json) io.stdout(`${JSON.stringify({ error: errorJson(error) })}\n`);
      setExitCode(stopCode ?? exitCodeOf(error));
    } finally {
      release();
    }
  });
  parent.addCommand(command);
}

/** A non-negative integer given on the command line. */
export function parseCount(option: string, text: string): number {
  const value = Number(text);
  if (!/^\d+$/u.test(text) || !Number.isSafeInteger(value)) throw usageError(`${option} wants a non-negative integer, got ${JSON.stringify(text)}`);
  return value;
}

/** A non-negative amount of money given on the command line. */
export function parseAmount(option: string, text: string): number {
  if (!/^\d+(?:\.\d+)?$/u.test(text)) throw usageError(`${option} wants an amount such as 20 or 7.50, got ${JSON.stringify(text)}`);
  return Number(text);
}

/** An error of usage: exit code 2. */
export function usageError(message: string, hint?: string): Error {
  return new CliError(message, { code: "USAGE", hint: hint ?? "Run the command with --help for an example." });
}
