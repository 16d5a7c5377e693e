import { curationStatus, STAGE_KINDS, STEP_STATES, type CurationStatus } from "@dramascope/curation";
import type { Command } from "commander";
import { defineCommand, type CliIo, type SetExitCode } from "../context.ts";
import { openCurateProject, withLedger, type CurateFlags } from "../curate-project.ts";
import { stepTroubles, troubleLines, type StepTrouble } from "../curate-standing.ts";
import { textTable } from "../text-table.ts";
import { withProjectOptions } from "./curate-options.ts";

function statusText({ runId, generation, counts, open, failed, parked, spending, currency, budget }: CurationStatus, troubles: readonly StepTrouble[]): string {
  const { settled, unknown, inFlight, calls } = spending;
  const amount = (value: number): string => `${value.toFixed(4)}${currency === null ? "" : ` ${currency}`}`;
  const ways = [
    open > 0 ? `${open} ${open === 1 ? "step is" : "steps are"} open: dramascope curate run asks ${open === 1 ? "it" : "them"}` : "nothing is open",
    ...(failed + parked > 0 ? ["dramascope curate retry frees what failed or is parked"] : []),
  ];
  return [
    generation === null ? "nothing was asked under these settings yet\n" : `run ${runId}, generation ${generation}\n`,
    textTable([["", ...STEP_STATES], ...STAGE_KINDS.map((kind) => [kind, ...STEP_STATES.map((state) => counts[kind][state])])]),
    ...troubleLines(troubles).map((line) => `${line}\n`),
    `${ways.join("; ")}\n`,
    `spent ${amount(settled + unknown + inFlight)}${budget === null ? "" : ` of a budget of ${amount(budget)}`} in ${calls} attempts${unknown > 0 ? `; ${amount(unknown)} of it is charged for attempts whose end is not known` : ""}\n`,
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
      return withLedger(project, "read", async (ledger) => {
        const status = await curationStatus(ledger, project.config);
        const troubles = await stepTroubles(ledger, status.generation);
        return { json: { ...status, troubles }, text: statusText(status, troubles) };
      });
    },
  });
}
