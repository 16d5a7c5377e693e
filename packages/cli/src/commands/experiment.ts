import { dirname, join } from "node:path";
import { analyseExperiment, analyseSummaries, parseExperimentPlan, readArmSummaries, readExperimentRows, readItemRows, type CompletePlan, type ExperimentReport } from "@dramascope/evaluation";
import { writeFileAtomically, writeJsonl, type RejectedLine } from "@dramascope/schema";
import type { Command } from "commander";
import { defineCommand, usageError, type CliIo, type CommandContext, type SetExitCode } from "../context.ts";
import { CliError } from "../errors.ts";
import { experimentHtml, percent, size } from "../experiment-report.ts";
import { readConfig } from "../model.ts";

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
  out?: string;
  report?: string;
}

async function* counted<T>(rows: AsyncIterable<T>, count: { rows: number }): AsyncGenerator<T> {
  for await (const row of rows) {
    count.rows++;
    yield row;
  }
}

/** Writes bad lines beside the output and names the first; throws when there are too many to go on. */
async function report(rejected: readonly RejectedLine[], rows: number, { out, report: page }: ExperimentOptions, { say }: CommandContext): Promise<void> {
  if (rejected.length === 0) return;
  const beside = out ?? page;
  const list = beside === undefined ? undefined : join(dirname(beside), "rejected.jsonl");
  if (list !== undefined) await writeJsonl(list, rejected);
  for (const { file, line, reason } of rejected.slice(0, SHOWN_REJECTED)) say(`${file}:${line}: ${reason}`);
  say(`${rejected.length} bad lines are left out${list === undefined ? "; give --out to have them listed in a file" : ` and listed in ${list}`}`);
  const total = rows + rejected.length;
  if (rejected.length <= MAX_REJECTED_SHARE * total) return;
  const { file, line, reason } = rejected[0]!;
  throw new CliError(`${rejected.length} of ${total} lines are bad, the first ${file}:${line}: ${reason}`, { code: "TOO_MANY_REJECTED", hint: `Mend the data: above ${100 * MAX_REJECTED_SHARE} % the rest may not be comparable any more.` });
}

/** Analyses rows of users, with the bad lines left out and reported. */
async function analyseFiles(data: string, plan: CompletePlan, options: ExperimentOptions, context: CommandContext): Promise<{ result: ExperimentReport; rejected: number }> {
  const rejected: RejectedLine[] = [];
  const onRejected = (line: RejectedLine): void => {
    rejected.push(line);
    if (rejected.length > MAX_REJECTED) throw new CliError(`more than ${MAX_REJECTED} lines are bad, the first ${rejected[0]!.file}:${rejected[0]!.line}: ${rejected[0]!.reason}`, { code: "TOO_MANY_REJECTED", hint: "Mend the data first." });
  };
  const count = { rows: 0 };
  const rows = counted(readExperimentRows(data, plan, { onRejected }), count);
  const items = options.items === undefined ? undefined : counted(readItemRows(options.items, plan, { onRejected }), count);
  const result = await analyseExperiment(rows, plan, { signal: context.signal, onProgress: context.progress, ...(items ? { items } : {}) });
  await report(rejected, count.rows, options, context);
  return { result, rejected: rejected.length };
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
        .option("--out <file>", "the whole result as JSON")
        .option("--report <file>", "the result as a page"),
    run: async (context, options) => {
      const { data, summaries, items, out, report: page } = options;
      if ((data === undefined) === (summaries === undefined)) throw usageError("give either --data or --summaries");
      if (summaries !== undefined && items !== undefined) throw usageError("--items goes with --data");
      const plan = parseExperimentPlan(await readConfig(options.plan), options.plan);
      const { result, rejected } = data === undefined ? { result: analyseSummaries(await readArmSummaries(summaries!), plan), rejected: 0 } : await analyseFiles(data, plan, options, context);
      const json = { input: data ?? summaries, rejected, ...result };
      if (out !== undefined) await writeFileAtomically(out, `${JSON.stringify(json, null, 2)}\n`);
      if (page !== undefined) await writeFileAtomically(page, experimentHtml(result));
      return { json, text: summary(result) };
    },
  });
}
