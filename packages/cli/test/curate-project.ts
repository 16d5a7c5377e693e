import { readdirSync, readFileSync, statSync } from "node:fs";
import { appendFile, mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startSimulator, type Simulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { run, start } from "./cli.ts";

export const CANARY_KEY = "sk-canary-4711";
export const CANARY_PHONE = "13800138000";

/** A project of made-up dramas with its teacher. */
export interface Project {
  folder: string;
  config: string;
  teacher: Simulator;
  /** Runs `curate` with words in this process. */
  curate: (...words: string[]) => ReturnType<typeof run>;
  /** Starts it in a process of its own. */
  start: (words: readonly string[], options?: Parameters<typeof start>[1]) => ReturnType<typeof start>;
  /** Replaces the teacher's faults. */
  faults: (rules: readonly object[]) => Promise<void>;
}

/** A new project of `init --sample` and a teacher simulator that knows its classes. Pauses between attempts are short. */
export async function sampleProject(args: readonly string[] = [], settings = ""): Promise<Project> {
  const folder = join(await mkdtemp(join(tmpdir(), "dramascope-curate-")), "project");
  const teacher = await startSimulator({ args });
  await run("init", folder, "--sample", "--teacher", teacher.baseURL, "--quiet");
  const config = join(folder, "dramascope.yaml");
  await appendFile(config, `drainMs: 5000\n${settings}`);
  const sim = (route: string, body: string): Promise<Response> => fetch(new URL(`/__sim/${route}`, teacher.baseURL), { method: "POST", body });
  await sim("truth", await readFile(join(folder, "data", "truth.json"), "utf8"));
  return {
    folder,
    config,
    teacher,
    curate: (...[name, ...words]) => run("curate", name!, "--config", config, ...words),
    start: ([name, ...words], options) => start(["curate", name!, "--config", config, ...words], options),
    faults: async (rules) => {
      const { ok, status } = await sim("faults", JSON.stringify({ rules }));
      if (!ok) throw new Error(`the simulator does not take the faults: ${status}`);
    },
  };
}

/** Every file below a folder with its bytes as text. */
export function filesBelow(folder: string): Map<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  return new Map(names.filter((name) => statSync(join(folder, name)).isFile()).map((name) => [name, readFileSync(join(folder, name), "latin1")]));
}
