import { Command, CommanderError } from "commander";
import { addAssess } from "./commands/assess.ts";
import { addCalibrate } from "./commands/calibrate.ts";
import { addCurate } from "./commands/curate.ts";
import { addDemo } from "./commands/demo.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addEvaluate } from "./commands/evaluate.ts";
import { addExperiment } from "./commands/experiment.ts";
import { addFrames } from "./commands/frames.ts";
import { addHotValue } from "./commands/hot-value.ts";
import { addInit } from "./commands/init.ts";
import { addModel } from "./commands/model-pull.ts";
import { addRewards } from "./commands/rewards.ts";
import { addTrain } from "./commands/train.ts";
import type { CliIo } from "./context.ts";
import type { ExitCode } from "./errors.ts";

/**
 * Runs the `dramascope` command.
 *
 * @param args Words after the program's name.
 * @param io   Streams, environment, clock and stop signals.
 * @returns    The exit code: 0 done, 1 failed, 2 usage, 3 bad input, 4 a component is not available, 130 or 143 stopped.
 */
export async function main(args: readonly string[], io: CliIo): Promise<ExitCode> {
  let exitCode: ExitCode = 0;
  const program = new Command("dramascope")
    .description("Judges short dramas before they have an audience.")
    .exitOverride()
    .configureOutput({ writeOut: io.stdout, writeErr: io.stderr });
  const add = [addDoctor, addInit, addDemo, addHotValue, addFrames, addModel, addCurate, addTrain, addAssess, addEvaluate, addCalibrate, addExperiment, addRewards];
  for (const one of add) one(program, io, (code) => (exitCode = code));
  const everyCommand = [...program.commands, ...program.commands.flatMap((command) => command.commands)];
  for (const command of everyCommand) command.exitOverride().configureOutput({ writeOut: io.stdout, writeErr: io.stderr });
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
}
