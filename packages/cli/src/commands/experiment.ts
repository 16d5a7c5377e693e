import { rm } from "node:fs/promises";
import { analyseExperiment, analyseSummaries, parseExperimentPlan, readArmSummaries, readExperimentRows, readItemRows, type CompletePlan, type ExperimentReport } from "@dramascope/evaluation";
import { writeFileAtomically, writeJsonl, type RejectedLine } from "@dramascope/schema";
import type { Command } from "commander";
import { defineCommand, usageError, type CliIo, type CommandContext, type SetExitCode } from "../context.ts";
import { CliError } from "../errors.ts";
import { experimentHtml, percent, size } from "../experiment-report.ts";
import { readConfig } from "../model.ts";
import { rejectedPath } from "../rejected-list.ts";

/** Share of bad lines above which nothing is analysed: what is missing may not be missing at random. */
const MAX_REJECTED_SHARE = 0.01;
/** Bad lines kept in memory. */
const MAX_REJECTED = 100_000;
const SHOWN_REJECTED = 3;

interface ExperimentOptions {
  data?: string;
  summaries?: string;
  plan: string;
  items?: string;
  rejected?: string;
  out?: string;
  report?: string;
}

/** Good and bad lines of one file. */
interface LineCount {
  path: string;
  rows: number;
  rejected: number;
}

async function* counted<T>(rows: AsyncIterable<T>, count: LineCount): AsyncGenerator<T> {
  for await (const row of rows) {
    count.rows++;
    yield row;
  }
}

/** Where bad lines go: nowhere without a name or an output beside which they could be. */
async function listOf({ data, items, plan, rejected, out, report }: ExperimentOptions): Promise<string | undefined> {
  const beside = rejected ?? out ?? report;
  if (beside === undefined) return undefined;
  return rejectedPath(rejected, beside, Object.entries({ data, items, plan, out, report }).flatMap(([name, file]): [string, string][] => (file === undefined ? [] : [[`--${name}`, file]])));
}

/** Writes the list of bad lines and names the first; throws when a file has too many to go on. */
async function report(rejected: readonly RejectedLine[], counts: readonly LineCount[], list: string | undefined, isAsked: boolean, { say }: CommandContext): Promise<void> {
  if (list !== undefined && (rejected.length > 0 || isAsked)) await writeJsonl(list, rejected);
  else if (list !== undefined) await rm(list, { force: true });
  if (rejected.length === 0) return;
  for (const { file, line, reason } of rejected.slice(0, SHOWN_REJECTED)) say(`${file}:${line}: ${reason}`);
  say(`${rejected.length} bad lines are left out${list === undefined ? "; give --rejected to have them listed in a file" : ` and listed in ${list}`}`);
  for (const { path, rows, rejected: bad } of counts) {
    if (bad <= MAX_REJECTED_SHARE * (rows + bad)) continue;
    const { file, line, reason } = rejected.find((one) => one.file === path)!;
    throw new CliError(`${bad} of ${rows + bad} lines are bad, the first ${file}:${line}: ${reason}`, { code: "TOO_MANY_REJECTED", hint: `Mend the data: above ${100 * MAX_REJECTED_SHARE} % the rest may not be comparable any more.` });
  }
}

/** Analyses rows of users, with the bad lines left out and reported. */
async function analyseFiles(data: string, plan: CompletePlan, options: ExperimentOptions, context: CommandContext): Promise<{ result: ExperimentReport; rejected: number }> {
  const list = await listOf(options);
  const rejected: RejectedLine[] = [];
  const counts: LineCount[] = [];
  const read = <T>(path: string, rowsOf: (path: string, plan: CompletePlan, options: { onRejected: (line: RejectedLine) => void }) => AsyncIterable<T>): AsyncIterable<T> => {
    const count: LineCount = { path, rows: 0, rejected: 0 };
    counts.push(count);
    const onRejected = (line: RejectedLine): void => {
      count.rejected++;
      rejected.push(line);
      if (rejected.length > MAX_REJECTED) throw new CliError(`more than ${MAX_REJECTED} lines are bad, the first ${rejected[0]!.file}:${rejected[0]!.line}: ${rejected[0]!.reason}`, { code: "TOO_MANY_REJECTED", hint: "Mend the data first." });
    };
    return counted(rowsOf(path, plan, { onRejected }), count);
  };
  const result = await analyseExperiment(read(data, readExperimentRows), plan, {
    signal: context.signal,
    onProgress: context.progress,
    ...(options.items !== undefined && { items: read(options.items, readItemRows) }),
  });
  await report(rejected, counts, list, options.rejected !== undefined, context);
  const leftOut = counts.filter((count) => count.rejected > 0).map(({ path, rows, rejected: bad }) => `${bad} of ${rows + bad} lines of ${path} are bad and left out`);
  const unsliced = options.items === undefined && plan.slices.length > 0 ? ["the plan has slices, which need --items"] : [];
  return { result: { ...result, warnings: [...leftOut, ...unsliced, ...result.warnings] }, rejected: rejected.length };
}

function summary({ verdict, reasons, users, srm, crossovers, comparisons, warnings, plan }: ExperimentReport): string {
  const lines = [
    `verdict    ${verdict}`,
    ...reasons.map((reason) => `           ${reason}`),
    `users      ${users.map((arm) => `${arm.variant} ${arm.users} (${(100 * arm.share).toFixed(2)} %, planned ${(100 * arm.plannedShare).toFixed(2)} %)`).join(", ")}; ${crossovers} in two variants removed`,
    `srm        ${srm === null ? "no users" : `p ${srm.p.toPrecision(3)}`}`,
  ];
  for (const { treatment, metrics } of comparisons) {
    lines.push(`${treatment} against ${plan.control}`);
    for (const { metric, role, evidence, cuped, minimumDetectableEffect, undefined: reason } of metrics) {
      const figures = evidence
        ? `${percent(evidence.estimate)} [${percent(evidence.low)}, ${percent(evidence.high)}], p ${evidence.p.toPrecision(3)}, detectable ${size(minimumDetectableEffect)}${cuped?.varianceRatio == null ? "" : `, CUPED variance ratio ${cuped.varianceRatio.toFixed(3)}`}`
        : `undefined (${reason!})`;
      lines.push(`  ${metric} (${role})  ${figures}`);
    }
  }
  return `${[...lines, ...warnings.map((text) => `warning: ${text}`)].join("\n")}\n`;
}

/** `dramascope experiment` */
export function addExperiment(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<ExperimentOptions>(program, io, setExitCode, {
    name: "experiment",
    summary: "what an online experiment has shown: sample ratio, lifts, guardrails, verdict",
    example: "dramascope experiment --data users.csv.gz --plan plan.yaml --out experiment.json --report experiment.html",
    configure: (command) =>
      command
        .option("--data <file>", "one row a user and variant: CSV or JSONL with userId, variant and the plan's columns, .gz accepted")
        .option("--summaries <file>", "instead of --data: CSV or JSONL with variant, metric, mean, variance, n")
        .requiredOption("--plan <file>", "variants, control, metrics and minimumEffect, as YAML or JSON")
        .option("--items <file>", "one row a drama and variant, for lifts by the plan's slices")
        .option("--rejected <file>", "where bad lines go; default rejected.jsonl beside the output")
        .option("--out <file>", "the whole result as JSON")
        .option("--report <file>", "the result as a page"),
    run: async (context, options) => {
      const { data, summaries, items, rejected: list, out, report: page } = options;
      if ((data === undefined) === (summaries === undefined)) throw usageError("give either --data or --summaries");
      if (summaries !== undefined && items !== undefined) throw usageError("--items goes with --data");
      if (summaries !== undefined && list !== undefined) throw usageError("--rejected goes with --data");
      const plan = parseExperimentPlan(await readConfig(options.plan), options.plan);
      const { result, rejected } = data === undefined ? { result: analyseSummaries(await readArmSummaries(summaries!), plan), rejected: 0 } : await analyseFiles(data, plan, options, context);
      const json = { input: data ?? summaries, rejected, ...result };
      if (out !== undefined) await writeFileAtomically(out, `${JSON.stringify(json, null, 2)}\n`);
      if (page !== undefined) await writeFileAtomically(page, experimentHtml(result));
      return { json, text: summary(result) };
    },
  });
}
