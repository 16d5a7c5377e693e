import { spawn } from "node:child_process";

/**
 * Runs a program quietly; resolves to its exit code, 127 where it cannot be started, and the end of what it said.
 *
 * @param {string} program
 * @param {readonly string[]} args
 * @param {import("node:child_process").SpawnOptions} options
 * @returns {Promise<{ code: number, said: string }>}
 */
export function runProgram(program, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    let said = "";
    const keep = (chunk) => (said = (said + chunk).slice(-2000));
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", (error) => resolve({ code: 127, said: error.message }));
    child.on("close", (code) => resolve({ code: code ?? 1, said }));
  });
}

/** The last line that a program said, for a sentence. */
export const lastLine = ({ code, said }) => said.trim().split("\n").at(-1) || `exit code ${code}`;
