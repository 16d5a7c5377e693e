import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startSimulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { expect, it } from "vitest";

it("shows code that runs", async () => {
  const code = /```ts\n([\s\S]*?)\n```/u.exec(readFileSync(new URL("../README.md", import.meta.url), "utf8"))![1]!.replace("some-teacher", "teacher-sim-1");
  const teacher = await startSimulator({ bodies: false });
  const workdir = mkdtempSync(join(tmpdir(), "dramascope-readme-"));
  const given = `const workdir = ${JSON.stringify(workdir)}; const baseURL = ${JSON.stringify(teacher.baseURL)};
const dramas = [{ drama: { dramaId: "a", releasedOn: "2026-01-01", episodes: [{ index: 1 }], transcript: "A maid opens the letter.", comments: [{ text: "What a twist!", likes: 2 }] }, quality: 4 }];`;
  const module = `${given}\n${code}\nconsole.log(isComplete, counts.caption.done);`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", module], { cwd: fileURLToPath(new URL("..", import.meta.url)) });
  await teacher.stop();
  expect(stdout.trim()).toBe("true 1");
  expect(readFileSync(join(workdir, "export", "manifest.json"), "utf8")).toContain("sha256");
});
