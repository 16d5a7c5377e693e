import { curationStatus, STAGE_KINDS, STEP_STATES, type CurationStatus } from "@dramascope/curation";
import type { Command } from "commander";
import { defineCommand, type CliIo, type SetExitCode } from "../context.ts";
import { openCurateProject, withLedger, type CurateFlags } from "../curate-project.ts";
import { textTable } from "../text-table.ts";
import { withProjectOptions } from "./curate-options.ts";

function statusText({ runId, generation, counts, open, failed, parked, spending, currency, budget }: CurationStatus): string {
  const { settled, unknown, inFlight, calls } = spending;
  const amount = (value: number): string => `${value.toFixed(4)}${currency === null ? "" : ` ${currency}`}`;
  const ways = [
    open > 0 ? `${open} steps are open: dramascope curate run asks them` : "nothing is open",
    ...(failed + parked > 0 ? [`${failed + parked} failed or parked: dramascope curate retry frees them`] : []),
  ];
  return [
    generation === null ? "nothing was asked under these settings yet\n" : `run ${runId}, generation ${generation}\n`,
    textTable([["", ...STEP_STATES], ...STAGE_KINDS.map((kind) => [kind, ...STEP_STATES.map((state) => counts[kind][state])])]),
    `${ways.join("; ")}\n`,
    `spent ${amount(settled + unknown + inFlight)}${unknown > 0 ? `, of it ${amount(unknown)} without knowing the end` : ""}${budget === null ? "" : ` of ${amount(budget)}`}, ${calls} attempts\n`,
  ].join("");
}

/** `dramascope curate status` */
export function addCurateStatus(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<CurateFlags>(group, io, setExitCode, {
    name: "status",
    summary: "what the ledger holds; reads only, also while a run is on",
    example: "dramascope curate status",
    configure: withProjectOptions,
    run: async (context, options) => {
      const project = await openCurateProject(options, context);
      const status = await withLedger(project, "read", (ledger) => curationStatus(ledger, project.config));
      return { json: { ...status }, text: statusText(status) };
    },
  });
}
