import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

it("runs the README's example", async () => {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const code = /```ts\n([\s\S]*?)```/u.exec(readme)![1]!;
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const output = execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", code], { cwd: root, encoding: "utf8" });
  const [count, norm] = output.trim().split("\n").at(-1)!.split(" ").map(Number);
  expect(count).toBe(2);
  expect(norm).toBeGreaterThan(0);
});
