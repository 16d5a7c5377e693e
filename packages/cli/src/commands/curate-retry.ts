import type { Command } from "commander";
import { defineCommand, usageError, type CliIo, type SetExitCode } from "../context.ts";
import { openCurateProject, withLedger, type CurateFlags } from "../curate-project.ts";
import { stageKinds, withProjectOptions } from "./curate-options.ts";

interface RetryOptions extends CurateFlags {
  kind?: string;
  code?: string;
}

function codesOf(text: string): string[] {
  const codes = text.split(",").map((one) => one.trim());
  if (codes.includes("")) throw usageError(`--code wants codes such as TRUNCATED, separated by commas, got ${JSON.stringify(text)}`, "dramascope curate report names the codes that there are.");
  return codes;
}

/** `dramascope curate retry` */
export function addCurateRetry(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<RetryOptions>(group, io, setExitCode, {
    name: "retry",
    summary: "free failed and parked steps, so that the next run asks them again; refused content stays refused",
    example: "dramascope curate retry --code TRUNCATED",
    configure: (command) => withProjectOptions(command).option("--kind <kinds>", "caption, sample, filter, comments; default all").option("--code <codes>", "only steps with these codes; default all"),
    run: async (context, options) => {
      const kinds = options.kind === undefined ? undefined : stageKinds("--kind", options.kind);
      const codes = options.code === undefined ? undefined : codesOf(options.code);
      const project = await openCurateProject(options, context);
      // Opened for reading first: a ledger that is not there is a mistake, and no reason to make one.
      await withLedger(project, "read", (ledger) => ledger.generations());
      const freed = await withLedger(project, "write", (ledger) => ledger.free({ states: ["failed", "parked"], ...(kinds && { kinds }), ...(codes && { codes }) }));
      context.say(freed === 0 ? "no such step has failed or is parked" : `${freed} ${freed === 1 ? "step is" : "steps are"} free again: dramascope curate run asks them`);
      return { json: { freed } };
    },
  });
}
