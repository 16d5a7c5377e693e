import { Command } from "commander";
import type { CliIo, SetExitCode } from "../context.ts";
import { addCurateDelete } from "./curate-delete.ts";
import { addCurateExport } from "./curate-export.ts";
import { addCuratePlan } from "./curate-plan.ts";
import { addCurateReport } from "./curate-report.ts";
import { addCurateRetry } from "./curate-retry.ts";
import { addCurateRun } from "./curate-run.ts";
import { addCurateStatus } from "./curate-status.ts";

/** `dramascope curate plan|run|status|retry|export|report|delete` */
export function addCurate(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  const group = new Command("curate").description("teacher captions, chains of thought and filters in a durable ledger");
  for (const add of [addCuratePlan, addCurateRun, addCurateStatus, addCurateRetry, addCurateExport, addCurateReport, addCurateDelete]) add(group, io, setExitCode);
  program.addCommand(group);
}
