import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadTemplates } from "@dramascope/prompts";
import { expect, it } from "vitest";

it("shows code that runs in the README", () => {
  const code = /```ts\n([\s\S]*?)```/u.exec(readFileSync(new URL("../README.md", import.meta.url), "utf8"))![1]!;
  const output = execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", code], { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8" });
  expect(output.trim()).toBe("cot 1.0.0 5");
});

it("shows an own prompt that is taken as it stands", async () => {
  const own = /```\n(---\n[\s\S]*?)```/u.exec(readFileSync(new URL("../README.md", import.meta.url), "utf8"))![1]!;
  const dir = mkdtempSync(join(tmpdir(), "dramascope-prompts-"));
  writeFileSync(join(dir, "caption.md"), own);
  const { caption } = await loadTemplates({ dir });
  expect(caption.variables).toEqual(["episodeCount", "transcript"]);
});
