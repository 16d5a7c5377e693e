import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

it("shows code that runs", () => {
  const blocks = [...readFileSync(new URL("../README.md", import.meta.url), "utf8").matchAll(/```ts\n([\s\S]*?)```/gu)].map((match) => match[1]!);
  const run = (code: string): string => execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", code], { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8" }).trim();
  expect(run(blocks[0]!)).toBe("0.8 0.6 2 0.225");
});
