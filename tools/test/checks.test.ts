import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { layers } from "../../layers.js";
import { readApi } from "../check-docs.ts";
import { layerProblems, lockProblems, versionProblems } from "../check-layers.ts";
import { readPackages, type WorkspacePackage } from "../workspace.ts";

const change = (name: string, edit: (one: WorkspacePackage) => void): WorkspacePackage[] => {
  const packages = structuredClone(readPackages());
  edit(packages.find((one) => one.name === name)!);
  return packages;
};

describe("check-layers", () => {
  it("finds the workspace in order", () => {
    expect(layerProblems(readPackages(), layers)).toEqual([]);
  });

  it("refuses a missing reference", () => {
    const packages = change("rewards", (one) => one.references.splice(one.references.indexOf("schema"), 1));
    expect(layerProblems(packages, layers)).toEqual(["packages/rewards/tsconfig.build.json lacks a reference to schema, which package.json depends on"]);
  });

  it("refuses a dependency on a higher layer and a stale version", () => {
    const upward = change("schema", (one) => (one.manifest.dependencies = { "@dramascope/rewards": "^0.1.0" }));
    expect(layerProblems(upward, layers)).toContain("packages/schema depends on rewards, which is not a lower layer");
    const stale = change("schema", (one) => (one.manifest.version = "9.0.0"));
    expect(layerProblems(stale, layers).some((problem) => problem.includes("the workspace has 9.0.0"))).toBe(true);
  });

  it("refuses a package without a README, a tag or a place in the list", () => {
    const packages = change("schema", (one) => {
      one.hasReadme = false;
      one.manifest.nx = { tags: [] };
    });
    expect(layerProblems(packages, layers)).toEqual(["packages/schema lacks the tag layer:schema", "packages/schema has no README.md"]);
    expect(layerProblems(readPackages(), layers.filter((layer) => layer !== "cli"))).toContain("packages/cli is not in layers.js");
  });

  it("refuses version ranges, and lock files that are incomplete or name addresses", () => {
    expect(versionProblems([{ where: "x", manifest: { name: "x", version: "1.0.0", dependencies: { zod: "^4.0.0" } } }])).toHaveLength(1);
    const lock = {
      packages: {
        "node_modules/a": { resolved: "https://example.org/a.tgz", optionalDependencies: { "a-linux": "1.0.0", "a-mac": "1.0.0" } },
        "node_modules/a-linux": {},
      },
    };
    expect(lockProblems(lock)).toEqual([
      "package-lock.json: node_modules/a wants a-mac, which the lock file does not hold; npm ci would fail elsewhere",
      "package-lock.json: node_modules/a names a download address",
    ]);
  });
});

describe("check-docs", () => {
  it("reports signatures and names undocumented exports", () => {
    const entry = join(mkdtempSync(join(tmpdir(), "dramascope-docs-")), "index.d.ts");
    writeFileSync(entry, "/** Adds. */\nexport declare function add(a: number, b: number): number;\nexport declare const bare: number;\n");
    const { report, undocumented } = readApi(entry);
    expect(undocumented).toEqual(["bare"]);
    expect(report).toBe("function add(a: number, b: number): number;\n\nconst bare: number;\n");
  });

  it("reports an enum the same in whatever order the compiler met its members", () => {
    const folder = mkdtempSync(join(tmpdir(), "dramascope-docs-"));
    const reports = ['{ b: "b"; a: "a" }', '{\n    a: "a";\n    b: "b";\n}'].map((members, i) => {
      const entry = join(folder, `${i}.d.ts`);
      writeFileSync(entry, `interface ZodEnum<T> { of: T }\n/** Kinds. */\nexport declare const kinds: ZodEnum<${members}>;\n`);
      return readApi(entry).report;
    });
    expect(reports[0]).toContain('const kinds: ZodEnum<{ a: "a"; b: "b" }>;');
    expect(reports[1]).toBe(reports[0]);
  });
});
