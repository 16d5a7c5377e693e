import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { main, type ExitCode } from "@dramascope/cli";

/** Path below the fixtures. */
export const fixture = (name: string): string => fileURLToPath(new URL(`../../../test-fixtures/${name}`, import.meta.url));

/** Runs the command in this process. */
export async function run(...args: string[]): Promise<{ code: ExitCode; stdout: string; stderr: string }> {
  let [stdout, stderr] = ["", ""];
  const code = await main(args, {
    stdout: (text) => (stdout += text),
    stderr: (text) => (stderr += text),
    env: process.env,
    isTTY: false,
    now: () => 0,
    onStop: () => () => undefined,
  });
  return { code, stdout, stderr };
}

/** Starts the command in its own process, in a folder and with additions to the environment where these are given. */
export function start(args: readonly string[], { cwd, env }: { cwd?: string; env?: Record<string, string> } = {}): { child: ChildProcess; done: Promise<{ code: number | null; stdout: string; stderr: string }> } {
  const child = spawn(process.execPath, ["--conditions=@dramascope/source", fileURLToPath(new URL("../src/bin.ts", import.meta.url)), ...args], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env }, ...(cwd !== undefined && { cwd }) });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return { child, done: new Promise((resolve) => child.on("close", (code) => resolve({ code, stdout, stderr }))) };
}
