import { access, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { createRewardPool, hardened, type ReferenceWarning, type RewardPool, type RewardSettings } from "@dramascope/rewards";
import { DramascopeError } from "@dramascope/schema";
import { Command, Option } from "commander";
import { defineCommand, parseCount, usageError, type CliIo, type SetExitCode } from "../context.ts";
import { CliError } from "../errors.ts";
import { readConfig } from "../model.ts";
import { rejectedPath } from "../rejected-list.ts";
import { describeReweighting, reweightRewards } from "../reweight-rewards.ts";
import { scoreRewards } from "../score-rewards.ts";
import { serveRewards } from "../serve-rewards.ts";

/** Options of how completions are scored. */
interface ScoringOptions {
  workers?: string;
  config?: string;
  tokenizer?: "rouge-score" | "mixed";
  hardened?: boolean;
}

const withScoring = (command: Command): Command =>
  command
    .option("--workers <n>", "threads; default one a core")
    .option("--config <file>", "YAML of reward options: weights, limits, tokenizer …")
    .addOption(new Option("--tokenizer <name>", "how text is cut into words; mixed sees Chinese, rouge-score does not").choices(["rouge-score", "mixed"]))
    .option("--hardened", "the recommended options against reward hacking; --config overrides them");

async function rewardSettings({ config, tokenizer, hardened: isHardened }: ScoringOptions): Promise<RewardSettings> {
  return { ...(isHardened ? hardened() : {}), ...(config === undefined ? {} : (await readConfig(config))), ...(tokenizer === undefined ? {} : { tokenizer }) };
}

function workersOf({ workers }: ScoringOptions): number | undefined {
  if (workers === undefined) return undefined;
  const count = parseCount("--workers", workers);
  if (count === 0) throw usageError("--workers wants at least 1");
  return count;
}

const WARNINGS: Readonly<Record<ReferenceWarning, string>> = {
  "no-reference-comments": "have no comments; there the reward of comments is 0",
  "reference-caption-has-no-tokens": "have a caption without a word that the tokenizer sees; there the reward of captions is 0",
  "tokenizer-skips-letters": "have letters that the tokenizer rouge-score does not see; use --tokenizer mixed",
};

/** Threads with the settings of the command line. */
async function openPool(options: ScoringOptions): Promise<RewardPool> {
  const workers = workersOf(options);
  const reward = await rewardSettings(options);
  try {
    return createRewardPool({ reward, ...(workers === undefined ? {} : { workers }) });
  } catch (error) {
    if (options.config === undefined || !DramascopeError.isInstance(error) || !["OPTIONS_INVALID", "WEIGHTS_INVALID"].includes(error.code)) throw error;
    throw new CliError(`${options.config}: ${error.message}`, { code: "CONFIG_INVALID", cause: error, ...(error.hint !== undefined && { hint: error.hint }) });
  }
}

async function makeFolderOf(option: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true }).catch((error: unknown) => {
    throw new CliError(`${path} of ${option} cannot be written: there is no folder ${dirname(path)} and none can be made`, { code: "OUTPUT_UNWRITABLE", cause: error, hint: "Check the path and your rights." });
  });
}

function shareOf(option: string, text: string): number {
  const value = Number(text);
  if (!/^\d*\.?\d+$/u.test(text) || value > 1) throw usageError(`${option} wants a share from 0 to 1, got ${JSON.stringify(text)}`);
  return value;
}

/** `dramascope rewards score` */
function addScore(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<ScoringOptions & { in: string; out: string; rejected?: string; maxRejectedShare: string }>(group, io, setExitCode, {
    name: "score",
    summary: "score a file of completions",
    example: "dramascope rewards score --in completions.jsonl --out rewards.jsonl",
    configure: (command) =>
      withScoring(
        command
          .requiredOption("--in <file>", "JSONL with id, completion, solution, caption, comments; .gz accepted; ids are copied, equal ones are not looked for")
          .requiredOption("--out <file>", "JSONL of rewards, in the order of the input")
          .option("--rejected <file>", "where bad lines are listed; default rejected.jsonl beside the output")
          .option("--max-rejected-share <share>", "bad lines above which nothing is written but their list", "0.01"),
      ),
    run: async (context, options) => {
      const maxRejectedShare = shareOf("--max-rejected-share", options.maxRejectedShare);
      await access(options.in).catch((error: unknown) => {
        throw new CliError(`${options.in} cannot be read`, { code: "INPUT_NOT_FOUND", cause: error, hint: "Check the path." });
      });
      const rejected = await rejectedPath(options.rejected, options.out, [["--in", options.in], ["--out", options.out]]);
      const pool = await openPool(options);
      try {
        await makeFolderOf("--out", options.out);
        await makeFolderOf("--rejected", rejected);
        const { warnings, ...counts } = await scoreRewards({ input: options.in, output: options.out, rejected, isRejectedAsked: options.rejected !== undefined, maxRejectedShare }, pool, context);
        context.say(`${counts.items} completions scored by ${pool.version}${counts.unscored > 0 ? `, ${counts.unscored} of them null` : ""}`);
        for (const [warning, count] of warnings) context.say(`${count} of ${counts.items} references ${WARNINGS[warning]}`);
        if (counts.rejected > 0) context.say(`${counts.rejected} bad lines are left out and listed in ${rejected}`);
        return { json: { out: options.out, version: pool.version, ...counts, warnings: Object.fromEntries(warnings) } };
      } finally {
        await pool.close();
      }
    },
  });
}

const isLoopback = (host: string): boolean => host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/u.test(host);

function tokenFrom(name: string | undefined, io: CliIo): string | undefined {
  if (name === undefined) return undefined;
  const token = io.env[name];
  if (token === undefined || token === "") throw usageError(`the environment variable ${name} is not set`, "Set it to the token that clients send.");
  return token;
}

/** `dramascope rewards serve` */
function addServe(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<ScoringOptions & { port: string; host: string; tokenEnv?: string; bodyTimeout: string; json?: boolean }>(group, io, setExitCode, {
    name: "serve",
    summary: "score over HTTP: POST /v1/score",
    example: "dramascope rewards serve --port 8090 --workers 4",
    configure: (command) =>
      withScoring(
        command
          .requiredOption("--port <p>", "0 takes a free one; --json prints a line with the address as soon as it answers")
          .option("--host <address>", "any but this machine's own needs --token-env", "127.0.0.1")
          .option("--token-env <name>", "environment variable with the bearer token that clients send")
          .option("--body-timeout <seconds>", "time for the body of a request", "30"),
      ),
    run: async (context, options) => {
      const token = tokenFrom(options.tokenEnv, io);
      if (!isLoopback(options.host) && token === undefined) throw usageError(`--host ${options.host} can be reached by others, and no token is asked for`, "Add --token-env NAME, or stay on 127.0.0.1.");
      const port = parseCount("--port", options.port);
      if (port > 65_535) throw usageError(`--port wants 0 to 65535, got ${port}`);
      const bodyTimeoutSeconds = parseCount("--body-timeout", options.bodyTimeout);
      if (bodyTimeoutSeconds === 0) throw usageError("--body-timeout wants at least 1 second");
      const requests = await serveRewards({
        host: options.host,
        port,
        pool: await openPool(options),
        token,
        bodyTimeoutSeconds,
        signal: context.signal,
        onListening: (address) => {
          if (options.json) io.stdout(`${JSON.stringify({ address })}\n`);
          context.say(`rewards at ${address}/v1/score`);
        },
      });
      context.say(`${requests} requests answered`);
      return { json: { requests }, exitCode: 0 };
    },
  });
}

/** `dramascope rewards reweight` */
function addReweight(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<{ completions: string; weights: string; out?: string }>(group, io, setExitCode, {
    name: "reweight",
    summary: "what other weights would have made of a GRPO run's completions",
    example: "dramascope rewards reweight --completions grpo/completions.jsonl --weights accuracy=0.7,format=0.05",
    configure: (command) =>
      command
        .requiredOption("--completions <file>", "completions.jsonl of a run; its settings are read from run.json beside it")
        .requiredOption("--weights <parts>", "parts with their new weights; the others stay")
        .option("--out <file>", "the completions with their new totals and advantages"),
    run: async (_context, options) => {
      const result = await reweightRewards(options);
      return { json: { ...result, ...(options.out !== undefined && { out: options.out }) }, text: describeReweighting(result) };
    },
  });
}

/** `dramascope rewards score|serve|reweight` */
export function addRewards(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  const group = new Command("rewards").description("caption, comments, accuracy and format rewards of completions");
  addScore(group, io, setExitCode);
  addServe(group, io, setExitCode);
  addReweight(group, io, setExitCode);
  program.addCommand(group);
}
