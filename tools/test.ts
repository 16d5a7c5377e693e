/** Everything that has to hold: build, types, lint, tests of all packages, and the checks of the workspace itself. */
import { spawn } from "node:child_process";
import { stripVTControlCharacters } from "node:util";
import { root } from "./workspace.ts";

interface Step {
  name: string;
  command: string[];
}

const conditions = "--conditions=@dramascope/source";
const steps: Step[] = [
  { name: "layers", command: ["node", "tools/check-layers.ts"] },
  { name: "build, types, lint, tests, packages", command: ["nx", "run-many", "-t", "build", "typecheck", "lint", "test", "pack-check", "--parallel=2", "--output-style=static"] },
  { name: "types of the tools", command: ["tsc", "-p", "tools"] },
  { name: "lint of the tools", command: ["eslint", "tools"] },
  { name: "tests of the tools", command: ["vitest", "run", "--config", "tools/vitest.config.ts"] },
  { name: "documentation and API reports", command: ["node", conditions, "tools/check-docs.ts"] },
  { name: "published settings", command: ["node", conditions, "tools/settings-docs.ts"] },
  { name: "unused files and dependencies", command: ["knip", "--no-progress"] },
];

let passed = 0;
let failed = 0;

/** Adds up what vitest says in its closing line, replayed from the cache or fresh. */
function count(line: string): void {
  const text = stripVTControlCharacters(line);
  if (!/^\s*Tests\s/u.test(text)) return;
  passed += Number(/(\d+) passed/u.exec(text)?.[1] ?? 0);
  failed += Number(/(\d+) failed/u.exec(text)?.[1] ?? 0);
}

/** Runs one step with its output passed on; resolves to its exit code. */
function run({ name, command }: Step): Promise<number> {
  process.stdout.write(`\n── ${name}\n`);
  const [program, ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program!, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, NX_DAEMON: "false" } });
    let rest = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      process.stdout.write(chunk);
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      lines.forEach(count);
    });
    child.on("error", reject).on("close", (code) => resolve(code ?? 1));
  });
}

const broken: string[] = [];
for (const step of steps) if ((await run(step)) !== 0) broken.push(step.name);
process.stdout.write(broken.length === 0 ? "\nAll steps passed.\n" : `\nFailed: ${broken.join("; ")}\n`);
process.stdout.write(`${passed} passed, ${failed + (failed === 0 ? broken.length : 0)} failed\n`);
process.exitCode = broken.length === 0 ? 0 : 1;
