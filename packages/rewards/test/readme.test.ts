import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const blocks = [...readFileSync(new URL("../README.md", import.meta.url), "utf8").matchAll(/```ts\n([\s\S]*?)```/gu)].map(([, code]) => code!);

it("shows code that runs", () => {
  const outputs = blocks.map((code) =>
    execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", code], { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8" }).trim(),
  );
  expect(outputs).toEqual(["1 1 0.809", "200 1"]);
});
