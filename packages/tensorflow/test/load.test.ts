import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const folder = fileURLToPath(new URL("..", import.meta.url));

/** Runs a module in a fresh process: the search decides once a process. */
function run(code: string, env: Record<string, string> = {}): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module", "-e", code], {
    cwd: folder,
    encoding: "utf8",
    env: { PATH: process.env["PATH"] ?? "", ...env },
  });
  return { status, stdout, stderr };
}

const report = `
import { loadTensorFlow } from "@dramascope/tensorflow";
const { tf, backend, binding, version, diagnostics } = await loadTensorFlow(JSON.parse(process.env.OPTIONS ?? "{}"));
const y = tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[1], [1]]));
console.log(JSON.stringify({ backend, binding, version, candidates: diagnostics.candidates, y: [...await y.data()] }));
`;

describe("loadTensorFlow", () => {
  it("finds something that computes, explains every other candidate and exits cleanly without a line on stderr", () => {
    const { status, stdout, stderr } = run(report);
    const found = JSON.parse(stdout) as { y: number[]; candidates: { outcome: string; reason?: string }[] };
    expect(found.y).toEqual([3, 7]);
    expect(found.candidates.at(-1)!.outcome).toBe("chosen");
    for (const { outcome, reason } of found.candidates.slice(0, -1)) expect([outcome === "missing" || outcome === "refused", typeof reason]).toEqual([true, "string"]);
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });

  it("never looks at native code when wasm is asked for", () => {
    for (const env of [{ DRAMASCOPE_TENSORFLOW: "wasm" }, { OPTIONS: '{"prefer":"wasm"}' }]) {
      const { stdout, status } = run(report, env);
      expect(JSON.parse(stdout)).toMatchObject({ backend: "wasm", binding: null, candidates: [{ binding: "wasm", outcome: "chosen" }], y: [3, 7] });
      expect(status).toBe(0);
    }
  });

  it("refuses a preference that does not exist", () => {
    expect(run(report, { DRAMASCOPE_TENSORFLOW: "cuda" }).stderr).toContain("TENSORFLOW_PREFERENCE");
  });

  it("treats an unusable library that the user named as an error, never as a reason to fall back", () => {
    const empty = mkdtempSync(join(tmpdir(), "dramascope-empty-"));
    const fake = mkdtempSync(join(tmpdir(), "dramascope-fake-"));
    for (const name of ["libtensorflow_framework.so.2", "libtensorflow_cc.so.2"]) writeFileSync(join(fake, name), "not a library");
    for (const path of ["/nonexistent/tensorflow", empty, fake]) {
      const { status, stderr } = run(report, { DRAMASCOPE_LIBTENSORFLOW: path });
      expect(stderr).toContain("TENSORFLOW_UNUSABLE");
      expect(stderr).toContain(`DRAMASCOPE_LIBTENSORFLOW=${path}`);
      expect(status).toBe(1);
    }
  });

  it("fails when a GPU is asked for and there is none", () => {
    const { stderr, stdout } = run(report, { OPTIONS: '{"device":"gpu"}' });
    if (stdout === "") expect(stderr).toContain("TENSORFLOW_NO_GPU");
    else expect(JSON.parse(stdout)).toMatchObject({ backend: "tensorflow" });
  });

  it("loads nothing when it is only imported", () => {
    const code = `
      import "@dramascope/tensorflow";
      const { readFileSync } = await import("node:fs");
      const maps = process.platform === "linux" ? readFileSync("/proc/self/maps", "utf8") : "";
      console.log(/libtensorflow|koffi/.test(maps), "_tfengine" in globalThis);`;
    expect(run(code).stdout.trim()).toBe("false false");
  });
});

describe("the README", () => {
  it("shows code that runs", async () => {
    const { readFile } = await import("node:fs/promises");
    const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
    const code = /```ts\n([\s\S]*?)```/u.exec(readme)![1]!;
    const output = execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", code], { cwd: folder, encoding: "utf8" });
    expect(output).toContain("[ 3, 7 ]");
  });
});
