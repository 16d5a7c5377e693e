import { once } from "node:events";
import { access } from "node:fs/promises";
import { dirname, join } from "node:path";
import { PassThrough } from "node:stream";
import { createRewardPool, hardened, scoreItem, toReference, type RewardPool, type RewardSettings, type ScoreItem } from "@dramascope/rewards";
import { readJsonl, writeJsonl } from "@dramascope/schema";
import { Command, Option } from "commander";
import { defineCommand, parseCount, usageError, type CliIo, type CommandContext, type SetExitCode } from "../context.ts";
import { CliError } from "../errors.ts";
import { readConfig } from "../model.ts";
import { serveRewards } from "../serve-rewards.ts";

/** Options of how completions are scored. */
interface ScoringOptions {
  workers?: string;
  config?: string;
  tokenizer?: "rouge-score" | "mixed";
  hardened?: boolean;
}

/** Lines of a file that are scored in one go; two such batches are in memory. */
const BATCH = 512;

const withScoring = (command: Command): Command =>
  command
    .option("--workers <n>", "threads; default one a core")
    .option("--config <file>", "YAML of reward options: weights, limits, tokenizer …")
    .addOption(new Option("--tokenizer <name>", "how text is cut into words; mixed sees Chinese, rouge-score does not").choices(["rouge-score", "mixed"]))
    .option("--hardened", "the recommended options against reward hacking; --config goes before them");

async function rewardSettings({ config, tokenizer, hardened: isHardened }: ScoringOptions): Promise<RewardSettings> {
  return { ...(isHardened ? hardened() : {}), ...(config === undefined ? {} : ((await readConfig(config)))), ...(tokenizer === undefined ? {} : { tokenizer }) };
}

function workersOf({ workers }: ScoringOptions): number | undefined {
  if (workers === undefined) return undefined;
  const count = parseCount("--workers", workers);
  if (count === 0) throw usageError("--workers wants at least 1");
  return count;
}

async function* inBatches<T>(items: AsyncIterable<T>): AsyncGenerator<T[]> {
  let batch: T[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length === BATCH) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

interface Counts {
  items: number;
  unscored: number;
  rejected: number;
}

/** Scores a file into another one; memory does not grow with the file. Lines that are no items go to `rejected.jsonl` beside the output. */
async function scoreFile(input: string, output: string, pool: RewardPool, { signal, progress }: Pick<CommandContext, "signal" | "progress">): Promise<Counts> {
  const counts: Counts = { items: 0, unscored: 0, rejected: 0 };
  const rejects = new PassThrough({ objectMode: true });
  let writingRejects: Promise<unknown> | undefined;
  const lines = readJsonl(input, scoreItem, {
    onRejected: (line) => {
      counts.rejected++;
      writingRejects ??= writeJsonl(join(dirname(output), "rejected.jsonl"), rejects);
      rejects.write(line);
    },
  });
  const score = async (batch: readonly ScoreItem[]): Promise<object[]> => {
    const scores = await pool.score(batch.map((item) => ({ completion: item.completion, reference: toReference(item) })), { signal });
    return scores.map((one, i) => ({ id: batch[i]!.id, ...one }));
  };
  async function* scored(): AsyncGenerator<object> {
    let previous: Promise<object[]> | undefined;
    const finish = async (batch: Promise<object[]>): Promise<object[]> => {
      const rows = await batch;
      counts.items += rows.length;
      counts.unscored += rows.filter((row) => (row as { total: number | null }).total === null).length;
      progress({ phase: "score", done: counts.items });
      return rows;
    };
    for await (const batch of inBatches(lines)) {
      const next = score(batch);
      next.catch(() => undefined); // reported when its turn comes
      if (previous) yield* await finish(previous);
      previous = next;
      if (rejects.writableNeedDrain) await once(rejects, "drain");
    }
    if (previous) yield* await finish(previous);
  }
  try {
    await writeJsonl(output, scored());
  } catch (error) {
    if (writingRejects) {
      rejects.destroy(error as Error);
      await writingRejects.catch(() => undefined); // fails by the destruction above
    }
    throw error;
  }
  rejects.end();
  await writingRejects;
  return counts;
}

/** `dramascope rewards score` */
function addScore(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<ScoringOptions & { in: string; out: string }>(group, io, setExitCode, {
    name: "score",
    summary: "score a file of completions",
    example: "dramascope rewards score --in completions.jsonl --out rewards.jsonl",
    configure: (command) => withScoring(command.requiredOption("--in <file>", "JSONL with id, completion, solution, caption, comments; .gz accepted").requiredOption("--out <file>", "JSONL of rewards")),
    run: async (context, options) => {
      const workers = workersOf(options);
      await access(options.in).catch((error: unknown) => {
        throw new CliError(`${options.in} cannot be read`, { code: "INPUT_NOT_FOUND", cause: error, hint: "Check the path." });
      });
      const pool = createRewardPool({ reward: await rewardSettings(options), ...(workers === undefined ? {} : { workers }) });
      try {
        const counts = await scoreFile(options.in, options.out, pool, context);
        context.say(`${counts.items} completions scored by ${pool.version}${counts.unscored > 0 ? `, ${counts.unscored} of them null` : ""}`);
        if (counts.rejected > 0) context.say(`${counts.rejected} bad lines are listed in ${join(dirname(options.out), "rejected.jsonl")}`);
        return { json: { out: options.out, version: pool.version, ...counts } };
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
  defineCommand<ScoringOptions & { port: string; host: string; tokenEnv?: string; bodyTimeout: string }>(group, io, setExitCode, {
    name: "serve",
    summary: "score over HTTP: POST /v1/score",
    example: "dramascope rewards serve --port 8090 --workers 4",
    configure: (command) =>
      withScoring(
        command
          .requiredOption("--port <p>", "0 takes a free one")
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
        workers: workersOf(options),
        token,
        reward: await rewardSettings(options),
        bodyTimeoutSeconds,
        signal: context.signal,
        onListening: (address) => context.say(`rewards at ${address}/v1/score`),
      });
      context.say(`${requests} requests answered`);
      return { json: { requests }, exitCode: 0 };
    },
  });
}

/** `dramascope rewards score|serve` */
export function addRewards(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  const group = new Command("rewards").description("caption, comments, accuracy and format rewards of completions");
  addScore(group, io, setExitCode);
  addServe(group, io, setExitCode);
  program.addCommand(group);
}
