import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

it("shows code that runs in the README", () => {
  const code = /```ts\n([\s\S]*?)```/u.exec(readFileSync(new URL("../README.md", import.meta.url), "utf8"))![1]!;
  const output = execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", code], { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8" });
  expect(output.trim()).toBe("cot 1.0.0 5");
});
