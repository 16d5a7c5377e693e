import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));
const ARGUMENTS = ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e"];

/** How a process ended. */
export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Variables of a process: nothing of this one's but the path. */
const environment = (env: Readonly<Record<string, string>>): Record<string, string> => ({ PATH: process.env["PATH"] ?? "", ...env });

/** Runs a module in a fresh process: the search decides once a process. */
export function runModule(code: string, env: Readonly<Record<string, string>> = {}, flags: readonly string[] = []): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, ...ARGUMENTS, code], { cwd: folder, encoding: "utf8", env: environment(env) });
  return { status, stdout, stderr };
}

/** Runs a module in a fresh process and gives its exit code, while others may run. */
export function exitOfModule(code: string, env: Readonly<Record<string, string>> = {}): Promise<number | string | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...ARGUMENTS, code], { cwd: folder, env: environment(env), stdio: "ignore" });
    child.on("error", reject).on("exit", (status, signal) => resolve(status ?? signal));
  });
}
