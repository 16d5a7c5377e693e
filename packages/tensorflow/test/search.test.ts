import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { loadTensorFlow, type CandidateOutcome } from "@dramascope/tensorflow";
import { tryCandidate } from "../src/search.ts";
import { runModule } from "./processes.ts";
import { needsKoffi } from "./support.ts";

const temporary: string[] = [];
const makeFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "dramascope-search-"));
  temporary.push(folder);
  return folder;
};
afterAll(() => temporary.forEach((folder) => rmSync(folder, { recursive: true })));

/** Folder of a package that is installed in a project. */
const makePackage = (project: string): string => {
  const folder = join(project, "node_modules", "package");
  mkdirSync(folder, { recursive: true });
  return folder;
};

interface Report {
  backend: string;
  candidates: CandidateOutcome[];
  y: number[];
}

describe("the search", () => {
  /** Searches another machine than this one: no cache, no Python. */
  const elsewhere = (context: string): string => `
    import { searchTensorFlow } from "./src/search.ts";
    const context = { env: { PATH: "/nonexistent" }, platform: "linux", arch: "x64", libc: "glibc", hasGpu: false, packageFolder: "/usr/bin", workingFolder: "/nonexistent/folder", userCacheFolder: "/nonexistent",
      user: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }, ...${context} };
    const { tf, backend, diagnostics } = await searchTensorFlow({}, context);
    console.log(JSON.stringify({ backend, candidates: diagnostics.candidates, y: Array.from(await tf.square([1, 2]).data()) }));`;

  it.each([
    ["a tree with npm packages only", "{}", [".cache/tensorflow", "nothing was fetched there"]],
    ["another platform", '{ platform: "darwin", arch: "arm64" }', ["darwin arm64", "native TensorFlow is served on Linux x86-64 with glibc only"]],
    ["musl", '{ libc: "musl" }', ["linux x64 with musl", "native TensorFlow is served on Linux x86-64 with glibc only"]],
  ])("ends at wasm, in one line, with a reason for every other place: %s", (_case, context, [where, reason]) => {
    const { stdout, stderr, status } = runModule(elsewhere(context));
    const found = JSON.parse(stdout) as Report;
    expect(found).toMatchObject({ backend: "wasm", y: [1, 4] });
    expect(found.candidates).toContainEqual({ binding: "koffi", where, outcome: "missing", reason });
    for (const { outcome, reason: why } of found.candidates.slice(0, -1)) expect([outcome, typeof why]).toEqual(["missing", "string"]);
    expect(found.candidates.at(-1)).toMatchObject({ binding: "wasm", outcome: "chosen" });
    expect(stderr).toMatch(/^TensorFlow: [^\n]+\n$/u);
    expect(status).toBe(0);
  });

  it("refuses what others could have put into the working folder, before it is loaded", () => {
    const folder = makeFolder();
    const cache = join(folder, ".cache", "tensorflow");
    const libraries = join(cache, "tensorflow-2-cpu", "tensorflow");
    mkdirSync(libraries, { recursive: true });
    for (const name of ["libtensorflow_framework.so.2", "libtensorflow_cc.so.2", "../.complete"]) writeFileSync(join(libraries, name), "");
    chmodSync(folder, 0o777);
    const found = JSON.parse(runModule(elsewhere(`{ workingFolder: ${JSON.stringify(folder)} }`)).stdout) as Report;
    expect(found.backend).toBe("wasm");
    expect(found.candidates).toContainEqual({ binding: "koffi", where: cache, outcome: "refused", reason: "others can write to it" });
  });

  it("loads no second TensorFlow into a process that holds one, though it was refused", async ({ skip }) => {
    const loaded = await loadTensorFlow();
    needsKoffi(loaded, skip);
    const { where } = loaded.diagnostics.candidates.find(({ outcome }) => outcome === "chosen")!;
    const project = makeFolder();
    const caches = join(project, ".cache", "tensorflow");
    for (const [name, second] of [["2-torn", "torn"], ["1-whole", "whole"]] as const) {
      const folder = join(caches, name, "tensorflow");
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(caches, name, ".complete"), "");
      symlinkSync(join(where, "libtensorflow_framework.so.2"), join(folder, "libtensorflow_framework.so.2"));
      if (second === "torn") writeFileSync(join(folder, "libtensorflow_cc.so.2"), "torn");
      else symlinkSync(join(where, "libtensorflow_cc.so.2"), join(folder, "libtensorflow_cc.so.2"));
    }
    const found = JSON.parse(runModule(elsewhere(`{ packageFolder: ${JSON.stringify(makePackage(project))} }`)).stdout) as Report;
    const [torn, whole] = ["2-torn", "1-whole"].map((name) => join(caches, name, "tensorflow"));
    expect(found.candidates).toContainEqual({ binding: "koffi", where: torn, outcome: "refused", reason: expect.stringContaining("libtensorflow_cc.so.2 cannot be loaded") as string });
    expect(found.candidates).toContainEqual({ binding: "koffi", where: whole, outcome: "not-tried", reason: `this process already holds the TensorFlow of ${torn!}` });
    expect(found).toMatchObject({ backend: "wasm", y: [1, 4] });
  });

  it("refuses a native side whose products are zeros", () => {
    const stub = fileURLToPath(new URL("zero-products.cjs", import.meta.url));
    const { stdout } = runModule(`
      import tf from "@tensorflow/tfjs";
      import { ${tryCandidate.name} as tryOne } from "./src/search.ts";
      const { outcome, result } = await tryOne(tf, { binding: "addon", where: "a stub", find: () => ({ addon: ${JSON.stringify(stub)} }) }, {});
      console.log(JSON.stringify({ ...outcome, used: result !== undefined }));`);
    expect(JSON.parse(stdout)).toEqual({ outcome: "refused", reason: "a product of two small matrices came out as [0, 0, 0, 0]", used: false });
  });
});
