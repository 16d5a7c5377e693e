import { prepareReference, scoreCompletion } from "@dramascope/rewards";
import { quality, readJsonl, writeJsonl } from "@dramascope/schema";
import { Command } from "commander";
import { z } from "zod";
import { defineCommand, type CliIo, type SetExitCode } from "../context.ts";

const item = z.looseObject({ id: z.string().min(1), completion: z.string(), solution: z.union([quality, z.enum(["1", "2", "3", "4", "5"])]), caption: z.string(), comments: z.array(z.string()) });

/** `dramascope rewards score` */
export function addRewards(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  const group = new Command("rewards").description("caption, comments, accuracy and format rewards of completions");
  defineCommand<{ in: string; out: string }>(group, io, setExitCode, {
    name: "score",
    summary: "score a file of completions",
    example: "dramascope rewards score --in completions.jsonl --out rewards.jsonl",
    configure: (command) => command.requiredOption("--in <file>", "JSONL with id, completion, solution, caption, comments").requiredOption("--out <file>", "JSONL of rewards"),
    run: async ({ say }, options) => {
      let count = 0;
      async function* scored(): AsyncGenerator<object> {
        for await (const { id, completion, solution, caption, comments } of readJsonl(options.in, item)) {
          count++;
          yield { id, ...scoreCompletion(completion, prepareReference({ score: Number(solution) as 1, caption, comments })) };
        }
      }
      await writeJsonl(options.out, scored());
      say(`${count} completions scored`);
      return { json: { out: options.out, items: count } };
    },
  });
  program.addCommand(group);
}
