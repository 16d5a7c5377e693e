import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Options of {@link startSimulator}. */
export interface SimulatorOptions {
  /** Further flags of the simulator, for example `["--rpm", "60"]`. Default none. */
  args?: readonly string[];
  /** Fault rules, `{ rules: [...] }`. Default none. */
  faults?: object;
  /** Whether full requests are kept in a file. Default true. */
  bodies?: boolean;
}

/** A running teacher simulator on the loopback. */
export interface Simulator {
  /** Address for clients, ends in `/v1`. */
  baseURL: string;
  port: number;
  pid: number;
  /** JSONL file of all calls. */
  journal: string;
  /** JSONL file of full requests; empty where they are not kept. */
  bodies: string;
  /** Calls so far, rate-limited ones included. */
  requests(): number;
  /** Ends the simulator and waits until it has gone. */
  stop(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL("teacher-simulator.mjs", import.meta.url));

/** Starts the teacher simulator on a free port of the loopback; its files lie in a new temporary folder. */
export async function startSimulator({ args = [], faults, bodies: keepsBodies = true }: SimulatorOptions = {}): Promise<Simulator> {
  const folder = mkdtempSync(join(tmpdir(), "dramascope-simulator-"));
  const [journal, bodies] = [join(folder, "journal.jsonl"), join(folder, "bodies.jsonl")];
  writeFileSync(journal, "");
  writeFileSync(bodies, "");
  const flags = ["--quiet", "--journal", journal, ...(keepsBodies ? ["--bodies", bodies] : []), ...args];
  if (faults) {
    writeFileSync(join(folder, "faults.json"), JSON.stringify(faults));
    flags.push("--faults", join(folder, "faults.json"));
  }
  const child = spawn(process.execPath, [PROGRAM, ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the teacher simulator ended with ${String(code)}: ${flags.join(" ")}`)));
  });
  const { baseURL, port, pid } = JSON.parse(line) as Pick<Simulator, "baseURL" | "port" | "pid">;
  return {
    baseURL,
    port,
    pid,
    journal,
    bodies,
    requests: () => readFileSync(journal, "utf8").split('"ev":"call"').length - 1,
    stop: async () => {
      child.kill("SIGTERM");
      await gone;
    },
  };
}
