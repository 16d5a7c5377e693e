import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Folder of the workspace, with a separator at its end. */
export const root = fileURLToPath(new URL("..", import.meta.url));

/** A package.json as far as the checks look at it. */
export interface Manifest {
  name: string;
  version: string;
  nx?: { tags?: string[] };
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

/** One package of the workspace with what its build refers to. */
export interface WorkspacePackage {
  /** Folder name below packages/, equal to the layer's name. */
  name: string;
  folder: string;
  manifest: Manifest;
  /** Folder names that tsconfig.build.json refers to. */
  references: string[];
  hasReadme: boolean;
}

/** Reads a JSON file of the workspace. */
export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

/** All packages, by folder name. */
export function readPackages(): WorkspacePackage[] {
  const base = join(root, "packages");
  return readdirSync(base)
    .filter((name) => existsSync(join(base, name, "package.json")))
    .sort()
    .map((name) => {
      const folder = join(base, name);
      const build = readJson<{ references?: { path: string }[] }>(join(folder, "tsconfig.build.json"));
      return {
        name,
        folder,
        manifest: readJson<Manifest>(join(folder, "package.json")),
        references: (build.references ?? []).map(({ path }) => path.replace(/^\.\.\//u, "").replace(/\/tsconfig\.build\.json$/u, "")),
        hasReadme: existsSync(join(folder, "README.md")),
      };
    });
}
