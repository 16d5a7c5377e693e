import { readFile, rm } from "node:fs/promises";
import { emitSql, EQUAL_WEIGHTS, fitHotValueFilesTo, HotValueError, parseModel, readRows, scoreHotValueFiles, serializeModel, validateWeights, type FitOptions, type HotValueModel, type Weights } from "@dramascope/hot-value";
import { writeFileAtomically } from "@dramascope/schema";
import { Command, Option } from "commander";
import { defineCommand, parseCount, usageError, type CliIo, type SetExitCode } from "../context.ts";
import { hotValueReportHtml } from "../hot-value-report.ts";
import { rejectedPath } from "../rejected-list.ts";

const INPUT = "CSV, JSONL (.gz accepted) or Parquet files, or patterns";
const SCORES = "where the scores go: .csv, .jsonl (.gz accepted) or .parquet";

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new HotValueError(`${path} cannot be read`, { code: "FILE_NOT_FOUND", cause: error, hint: "Check the path." });
  });
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new HotValueError(`${path} is not JSON: ${(error as Error).message}`, { code: "JSON_INVALID", cause: error, hint: "Correct the file." });
  }
}

async function readWeights(given: string): Promise<Weights> {
  return given === "equal" ? { ...EQUAL_WEIGHTS } : validateWeights(await readJson(given));
}

/** Last date of the input, for `--as-of`. */
async function lastDate(paths: readonly string[], signal: AbortSignal): Promise<string> {
  let last = "";
  for await (const item of readRows(paths, { signal })) if ("row" in item && item.row.date > last) last = item.row.date;
  if (last === "") throw usageError("the input holds no usable row, so there is no last date", "Give --as-of DATE.");
  return last;
}

/** Refused rows as a line for people; a file without any is removed when nobody asked for it. */
async function describeRejected(count: number, path: string, isAsked: boolean): Promise<string> {
  if (count === 0 && !isAsked) await rm(path, { force: true });
  return count === 0 ? "no row rejected" : `${count} rows rejected, see ${path}`;
}

interface FitFlags {
  model: string;
  out: string;
  weights?: string;
  asOf?: string;
  reference: "per-date" | "pooled" | "frozen";
  referenceModel?: string;
  onSmallCohort: "error" | "drop" | "allow";
  duplicates: "error" | "first" | "last";
  degenerate: "error" | "fallback";
  rejected?: string;
  report?: string;
  stability?: string;
  options?: string;
  emitSql?: "duckdb" | "postgres";
  table: string;
}

/** Settings of the command line, with those of `--options` below them. */
async function fitOptions(flags: FitFlags, asOf: string, weights: Weights): Promise<FitOptions> {
  const given = flags.options === undefined ? {} : ((await readJson(flags.options)) as Partial<FitOptions>);
  const frozen = flags.referenceModel === undefined ? undefined : parseModel(await readJson(flags.referenceModel));
  return {
    onSmallCohort: flags.onSmallCohort,
    duplicates: flags.duplicates,
    degenerate: flags.degenerate,
    ...given,
    weights,
    asOf,
    reference: { ...given.reference, mode: flags.reference, ...(frozen && { model: frozen }) },
  };
}

/** The three steps of the fit as SQL, for a warehouse. */
function sqlText(source: HotValueModel | FitOptions, dialect: "duckdb" | "postgres", table: string): string {
  const name = table.split(".");
  const steps = "modelHash" in source ? (["thresholds", "score", "label"] as const) : (["thresholds"] as const);
  return steps.map((step) => `-- ${step}\n${emitSql(source, { dialect, table: name, step }).trimEnd()};\n`).join("\n");
}

/** `dramascope hot-value fit|score` */
export function addHotValue(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  const group = new Command("hot-value").description("nine audience indicators become a hot value and a class 1 to 5");
  const dialect = (): Option => new Option("--emit-sql <dialect>", "print the same steps as SQL for a warehouse").choices(["duckdb", "postgres"]);
  defineCommand<FitFlags>(group, io, setExitCode, {
    name: "fit",
    summary: "fit a model on a population and label its dramas",
    example: "dramascope hot-value fit rows.csv.gz --weights equal --model model.json --out labels.jsonl",
    configure: (command) =>
      command
        .argument("<input...>", INPUT)
        .requiredOption("--model <file>", "where the model goes")
        .requiredOption("--out <file>", SCORES)
        .option("--weights <file>", "JSON with nine weights, or the word equal")
        .option("--as-of <date>", "day of the fit; default the last date of the input")
        .addOption(new Option("--reference <mode>", "rows that a row is compared with").choices(["per-date", "pooled", "frozen"]).default("per-date"))
        .option("--reference-model <file>", "the model whose cohorts --reference frozen uses")
        .addOption(new Option("--on-small-cohort <what>", "a cohort below 200 rows").choices(["error", "drop", "allow"]).default("error"))
        .addOption(new Option("--duplicates <what>", "two rows of one drama and date").choices(["error", "first", "last"]).default("error"))
        .addOption(new Option("--degenerate <what>", "cohorts whose marks coincide").choices(["error", "fallback"]).default("error"))
        .option("--options <file>", "JSON with further settings of the fit")
        .option("--rejected <file>", "where refused rows go; default rejected.jsonl beside the output")
        .option("--report <file>", "the fit as a page")
        .option("--stability <n>", "bootstrap rounds over dramas")
        .addOption(dialect())
        .option("--table <name>", "name of the table in the SQL", "indicators"),
    run: async ({ say, signal, progress, seed }, flags, inputs) => {
      if (flags.weights === undefined) throw usageError("--weights is missing: the published method names none", "Give --weights FILE with nine numbers that sum to 1, or --weights equal.");
      const written: [string, string][] = [["--out", flags.out], ["--model", flags.model], ...(flags.report === undefined ? [] : [["--report", flags.report] as [string, string]])];
      const rejected = await rejectedPath(flags.rejected, flags.out, [...inputs.map((input): [string, string] => ["the input", input]), ...written]);
      const weights = await readWeights(flags.weights);
      const asOf = flags.asOf ?? (await lastDate(inputs, signal));
      say(`fitting as of ${asOf}`);
      const options = await fitOptions(flags, asOf, weights);
      const stability = flags.stability === undefined ? {} : { stability: parseCount("--stability", flags.stability) };
      const { model, report } = await fitHotValueFilesTo(inputs, { labels: flags.out, rejected }, { ...options, ...stability, ...(seed !== undefined && { seed }), signal, onProgress: progress });
      await writeFileAtomically(flags.model, serializeModel(model));
      if (flags.report !== undefined) await writeFileAtomically(flags.report, hotValueReportHtml(report, model));
      for (const { code, message } of report.warnings) say(`warning ${code}: ${message}`);
      say(`${report.dramas} dramas, classes ${report.classSizes.join(" ")}, ${await describeRejected(report.rejected.count, rejected, flags.rejected !== undefined)}`);
      const sql = flags.emitSql === undefined ? {} : { text: sqlText(model, flags.emitSql, flags.table) };
      return { json: { model: flags.model, out: flags.out, modelHash: model.modelHash, report, rejected: report.rejected.count, ...(flags.emitSql !== undefined && { sql: sql.text }) }, ...sql };
    },
  });
  defineCommand<{ model: string; out: string; rejected?: string; onUnknownDate?: "latest-before" | "error"; emitSql?: "duckdb" | "postgres"; table: string }>(group, io, setExitCode, {
    name: "score",
    summary: "score rows with a frozen model",
    example: "dramascope hot-value score new.csv --model model.json --out scores.csv",
    configure: (command) =>
      command
        .argument("<input...>", INPUT)
        .requiredOption("--model <file>", "a model that fit wrote")
        .requiredOption("--out <file>", SCORES)
        .option("--rejected <file>", "where refused rows go; default rejected.jsonl beside the output")
        .addOption(new Option("--on-unknown-date <what>", "a date without a cohort; default as the model was fitted").choices(["latest-before", "error"]))
        .addOption(dialect())
        .option("--table <name>", "name of the table in the SQL", "indicators"),
    run: async ({ say, signal, progress }, { model: modelPath, out, rejected: given, onUnknownDate, emitSql: wanted, table }, inputs) => {
      const model = parseModel(await readJson(modelPath));
      const rejected = await rejectedPath(given, out, [...inputs.map((input): [string, string] => ["the input", input]), ["--out", out], ["--model", modelPath]]);
      const result = await scoreHotValueFiles(model, inputs, { scores: out, rejected }, { signal, onProgress: progress, ...(onUnknownDate && { onUnknownDate }) });
      if (result.otherDate > 0) say(`${result.otherDate} rows were compared with an earlier date's cohort, see thresholdsDate`);
      if (result.extraColumns.length > 0) say(`columns that mean nothing here: ${result.extraColumns.join(", ")}`);
      say(`${result.rows} rows scored, ${await describeRejected(result.rejected, rejected, given !== undefined)}`);
      const sql = wanted === undefined ? {} : { text: sqlText(model, wanted, table) };
      return { json: { out, ...result, ...(wanted !== undefined && { sql: sql.text }) }, ...sql };
    },
  });
  program.addCommand(group);
}
