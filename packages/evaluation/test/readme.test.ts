import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

it.each([
  [0, "0.8 0.6 2 0.225"],
  [1, "better 5.0"],
  [2, "ship 0.24"],
])("shows code that runs: block %i", (index, output) => {
  const blocks = [...readFileSync(new URL("../README.md", import.meta.url), "utf8").matchAll(/```ts\n([\s\S]*?)```/gu)].map((match) => match[1]!);
  const printed = execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", blocks[index]!], { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8" });
  expect(printed.trim()).toBe(output);
});
