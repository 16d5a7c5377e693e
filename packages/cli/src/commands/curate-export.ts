import { relative, resolve } from "node:path";
import { exportSets, frameManifestPath, LEFT_OUT_REASONS, type LeftOutReason } from "@dramascope/curation";
import type { Command } from "commander";
import { defineCommand, type CliIo, type SetExitCode } from "../context.ts";
import { openCurateProject, withLedger, type CurateFlags } from "../curate-project.ts";
import { withProjectOptions } from "./curate-options.ts";

interface ExportFlags extends CurateFlags {
  out?: string;
}

/** `dramascope curate export` */
export function addCurateExport(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<ExportFlags>(group, io, setExitCode, {
    name: "export",
    summary: "write the training sets, a card and a manifest; the same ledger gives the same bytes",
    example: "dramascope curate export",
    configure: (command) => withProjectOptions(command).option("--out <dir>", "default the settings' export.dir"),
    run: async (context, options) => {
      const project = await openCurateProject(options, context);
      const { config } = project;
      const out = resolve(options.out ?? config.export.dir!);
      const manifestPath: Parameters<typeof exportSets>[3] = config.teacher.media === "frames" ? {
        manifestPath: (record, episode) => {
          const path = frameManifestPath(config, record, episode);
          return path === undefined ? undefined : relative(out, path);
        },
      } : {};
      const manifest = await withLedger(project, "read", (ledger) => exportSets(ledger, config, out, manifestPath));
      context.say(`${Object.entries(manifest.counts).map(([name, count]) => `${name} ${count}`).join(", ")} in ${out}`);
      for (const [reason, count] of Object.entries(manifest.leftOut)) context.say(`${count} left out: ${LEFT_OUT_REASONS[reason as LeftOutReason]}`);
      return { json: { out, ...manifest } };
    },
  });
}
