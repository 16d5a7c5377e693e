import { deleteDrama } from "@dramascope/curation";
import type { Command } from "commander";
import { defineCommand, type CliIo, type SetExitCode } from "../context.ts";
import { openCurateProject, withLedger, type CurateFlags } from "../curate-project.ts";
import { withProjectOptions } from "./curate-options.ts";

/** `dramascope curate delete` */
export function addCurateDelete(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<CurateFlags>(group, io, setExitCode, {
    name: "delete",
    summary: "remove dramas with all their steps, texts and frames; what they cost stays in the sums, without their names",
    example: "dramascope curate delete 7300000000000000001",
    configure: (command) => withProjectOptions(command.argument("<id...>", "ids of dramas")),
    run: async (context, options, ids) => {
      const project = await openCurateProject(options, context);
      // Opened for reading first: a ledger that is not there is a mistake, and no reason to make one.
      await withLedger(project, "read", (ledger) => ledger.generations());
      const unknown: string[] = [];
      let steps = 0;
      await withLedger(project, "write", async (ledger) => {
        for (const id of new Set(ids)) {
          if ((await ledger.drama(id)) === undefined) unknown.push(id);
          steps += await deleteDrama(ledger, id, project.config);
        }
      });
      const dramas = new Set(ids).size - unknown.length;
      context.say(`${dramas} ${dramas === 1 ? "drama" : "dramas"} deleted, with ${steps} steps and all frames in the work folder; one that is still in the input comes back at the next run, and what was exported before still holds it`);
      if (unknown.length > 0) context.say(`the ledger does not hold ${unknown.map((id) => JSON.stringify(id)).join(", ")}`);
      return { json: { dramas, steps, unknown }, ...(unknown.length > 0 && { exitCode: 1 as const }) };
    },
  });
}
