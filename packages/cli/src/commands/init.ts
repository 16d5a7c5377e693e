import { access, mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { writeFileAtomically } from "@dramascope/schema";
import type { Command } from "commander";
import { defineCommand, usageError, type CliIo, type SetExitCode } from "../context.ts";
import { CliError } from "../errors.ts";
import { projectFiles } from "../init/project-files.ts";
import type { ProjectTeacher } from "../init/project-settings.ts";

interface InitOptions {
  sample?: boolean;
  teacher?: string;
}

const DEFAULT_TEACHER = { provider: "https://provider.example/v1", simulator: "http://127.0.0.1:8900/v1" } as const;

function teacherOf({ sample, teacher }: InitOptions): ProjectTeacher {
  const kind = sample ? "simulator" : "provider";
  const baseURL = teacher ?? DEFAULT_TEACHER[kind];
  if (!/^https?:$/u.test(URL.parse(baseURL)?.protocol ?? "") || /[\s#]/u.test(baseURL)) throw usageError(`--teacher wants an address such as ${DEFAULT_TEACHER[kind]}, got ${JSON.stringify(baseURL)}`);
  return { kind, baseURL };
}

/** `dramascope init DIR` */
export function addInit(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<InitOptions>(program, io, setExitCode, {
    name: "init",
    summary: "a commented project: dramascope.yaml, folders, .gitignore, README with the next commands",
    example: "dramascope init my-project --sample",
    configure: (command) =>
      command
        .argument("<dir>", "folder of the project; is made")
        .option("--sample", "with 30 made-up dramas, and settings for the teacher simulator")
        .option("--teacher <url>", `address of the teacher, without /chat/completions; default ${DEFAULT_TEACHER.provider}, of the sample ${DEFAULT_TEACHER.simulator}`),
    run: async ({ seed, say }, options, [dir = ""]) => {
      const folder = resolve(dir);
      const files = await projectFiles(teacherOf(options), seed ?? 1);
      const names = [...files.keys()];
      const taken = await Promise.all(names.map((name) => access(join(folder, name)).then(() => true, () => false)));
      const there = names.filter((_, i) => taken[i]);
      if (there.length > 0) throw new CliError(`${folder} holds ${there.join(", ")} already`, { code: "PROJECT_EXISTS", hint: "Name another folder, or move these away: nothing is overwritten." });
      await mkdir(join(folder, "data", "media"), { recursive: true });
      for (const [name, text] of files) await writeFileAtomically(join(folder, name), text);
      say(`made ${folder}; ${join(dir, "README.md")} has the next commands`);
      return { json: { folder, files: names } };
    },
  });
}
