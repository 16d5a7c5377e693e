import { createRequire } from "node:module";
import { resolve } from "node:path";
import { curationReport, curationReportText, exportDisagreements, loadSetting, type CurationConfig } from "@dramascope/curation";
import { writeFileAtomically } from "@dramascope/schema";
import type { Command } from "commander";
import { defineCommand, type CliIo, type SetExitCode } from "../context.ts";
import { openCurateProject, withLedger, type CurateFlags } from "../curate-project.ts";
import { curationPage, type PageFacts } from "../curation-report.ts";
import { withProjectOptions } from "./curate-options.ts";

interface ReportFlags extends CurateFlags {
  out?: string;
  report?: string;
  disagree?: string;
  includeComments?: boolean;
}

/** What the figures of a page rest on. */
async function originOf(config: CurationConfig): Promise<PageFacts["origin"]> {
  const { templates } = await loadSetting(config);
  const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };
  const { prices } = config.teacher;
  return [
    ["prompts", (["caption", "cot", "cot_filter", "comment_filter"] as const).map((id) => `${id}@${templates[id].version} (${templates[id].hash.slice(0, 12)})`).join(", ")],
    ["prices", prices === undefined ? "none given" : `${prices.currency} of ${prices.date}`],
    ["split", `${config.split.mode}, seed ${config.split.seed}`],
    ["version", version],
  ];
}

/** `dramascope curate report` */
export function addCurateReport(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<ReportFlags>(group, io, setExitCode, {
    name: "report",
    summary: "how far dramas came, where the teacher was wrong, and what it cost; also during a run",
    example: "dramascope curate report --report report.html",
    configure: (command) =>
      withProjectOptions(command)
        .option("--out <file>", "the figures as JSON")
        .option("--report <file>", "the page, one HTML file")
        .option("--disagree <file>", "JSONL of the rounds in which teacher and class, or the teacher and its second look, disagree")
        .option("--include-comments", "examples may hold viewers' comments"),
    run: async (context, { out, report: page, disagree, includeComments, ...options }) => {
      const project = await openCurateProject(options, context);
      const report = await withLedger(project, "read", async (ledger) => {
        if (disagree !== undefined) context.say(`${await exportDisagreements(ledger, project.config, resolve(disagree))} rounds in ${disagree}`);
        return curationReport(ledger, project.config, { comments: includeComments ? "include" : "without" });
      });
      if (out !== undefined) await writeFileAtomically(out, `${JSON.stringify(report, null, 2)}\n`);
      if (page !== undefined) await writeFileAtomically(page, curationPage(report, { origin: await originOf(project.config), ...(disagree !== undefined && { disagreements: disagree }) }));
      return { json: { ...report }, text: curationReportText(report) };
    },
  });
}
