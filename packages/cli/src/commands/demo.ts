import type { Command } from "commander";
import { defineCommand, parseCount, type CliIo, type SetExitCode } from "../context.ts";
import { runDemo } from "../demo/run-demo.ts";

/** `dramascope demo` */
export function addDemo(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<{ out: string; quick?: boolean; seeds: string; ablation?: boolean }>(program, io, setExitCode, {
    name: "demo",
    summary: "the whole pipeline on the synthetic drama world and real clips",
    example: "dramascope demo --out demo-out",
    configure: (command) =>
      command
        .option("--out <dir>", "where everything goes", "demo-out")
        .option("--quick", "every stage once, too short to learn much; under 90 seconds")
        .option("--seeds <n>", "training runs with seeds 0 to n - 1", "1")
        .option("--ablation", "also train without SFT and without single rewards, and compare; about three times as long"),
    run: async (context, options) => {
      const result = await runDemo({ out: options.out, isQuick: options.quick ?? false, seeds: parseCount("--seeds", options.seeds), ablation: options.ablation ?? false, context });
      return { json: { ...result } };
    },
  });
}
