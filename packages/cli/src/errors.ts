import { DramascopeError } from "@dramascope/schema";

/** A command that cannot run: wrong words, missing files, missing parts. */
export class CliError extends DramascopeError {}

/** Exit codes: 0 done, 1 failed, 2 usage, 3 bad input, 4 a component is not available, 130 and 143 stopped by a signal. */
export type ExitCode = 0 | 1 | 2 | 3 | 4 | 130 | 143;

const USAGE = new Set(["USAGE", "CHAT_OPTIONS", "CONFIG_INVALID", "CONFIG_UNKNOWN_KEY", "EXPORT_EDITED", "EXPORT_EXISTS", "GENERATION_CHANGED", "GENERATION_OLD", "LEDGER_ADDRESS", "PROJECT_EXISTS", "PLAN_EPISODES", "PLAN_BUDGET_TOO_SMALL", "SPLIT_SEED_CHANGED", "VIDEO_OPTIONS_INVALID"]);
const UNAVAILABLE = /^(FFMPEG_|HUB_|BFLOAT16_UNAVAILABLE|MAP_UNAVAILABLE|TENSORFLOW_|TEACHER_UNAVAILABLE|LEDGER_LOCKED|LEDGER_UNAVAILABLE|PARQUET_UNAVAILABLE|FIXTURES_MISSING|CHAT_UNAVAILABLE|REWARD_SERVER_AWAY)/u;
const INTERNAL = /^(ADDRESS_UNAVAILABLE|BUDGET_REACHED|CACHE_IO|EXPORT_CHANGED|EXPORT_CHECK|INTERNAL|JOURNAL_IO|LEDGER_CLOSED|LEDGER_IO|MERGE_DIFFERS|OUTPUT_UNWRITABLE|OUT_OF_MEMORY|REPORT_MISMATCH|RUN_BUSY|WEIGHT_CACHE)/u;

/** The exit code that an error leads to. Errors without a code of ours are failures of the program: 1. */
export function exitCodeOf(error: unknown): ExitCode {
  if (!DramascopeError.isInstance(error)) return 1;
  if (USAGE.has(error.code)) return 2;
  if (UNAVAILABLE.test(error.code)) return 4;
  if (INTERNAL.test(error.code)) return 1;
  return 3;
}

/** Code, sentence and hint of an error, for people. */
export function describeError(error: unknown, verbose: boolean): string {
  const lines: string[] = [];
  if (DramascopeError.isInstance(error)) {
    lines.push(`${error.code}: ${error.message}`);
    if (error.hint !== undefined) lines.push(`  → ${error.hint}`);
  } else {
    lines.push(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
  }
  if (verbose && error instanceof Error && error.stack !== undefined) lines.push(error.stack);
  return `${lines.join("\n")}\n`;
}

/** The same for programs. */
export function errorJson(error: unknown): { code: string; message: string; hint?: string } {
  const { code, hint } = error as { code?: unknown; hint?: unknown };
  return { code: typeof code === "string" ? code : "INTERNAL", message: error instanceof Error ? error.message : String(error), ...(typeof hint === "string" && { hint }) };
}
