/**
 * Holds what no other tool sees: project references, dependencies and layer order must tell one story, versions are exact,
 * and the lock file is whole and names no address.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { layers } from "../layers.js";
import { readJson, readPackages, root, type Manifest, type WorkspacePackage } from "./workspace.ts";

const SCOPE = "@dramascope/";

/** What is wrong with the packages, one sentence each; empty when all is well. */
export function layerProblems(packages: readonly WorkspacePackage[], order: readonly string[]): string[] {
  const problems: string[] = [];
  const known = new Map(packages.map((one) => [one.name, one]));
  for (const layer of order) if (!known.has(layer)) problems.push(`layers.js names ${layer}, but packages/${layer} does not exist`);
  for (const { name, manifest, references, hasReadme } of packages) {
    const position = order.indexOf(name);
    if (position < 0) problems.push(`packages/${name} is not in layers.js`);
    if (manifest.name !== SCOPE + name) problems.push(`packages/${name} is named ${manifest.name}, expected ${SCOPE}${name}`);
    if (!manifest.nx?.tags?.includes(`layer:${name}`)) problems.push(`packages/${name} lacks the tag layer:${name}`);
    if (!hasReadme) problems.push(`packages/${name} has no README.md`);
    const dependencies = Object.entries(manifest.dependencies ?? {}).filter(([key]) => key.startsWith(SCOPE));
    const names = dependencies.map(([key]) => key.slice(SCOPE.length));
    for (const dependency of names) {
      if (!references.includes(dependency)) problems.push(`packages/${name}/tsconfig.build.json lacks a reference to ${dependency}, which package.json depends on`);
      const below = order.indexOf(dependency);
      if (below < 0 || below >= position) problems.push(`packages/${name} depends on ${dependency}, which is not a lower layer`);
    }
    for (const reference of references) {
      if (!names.includes(reference)) problems.push(`packages/${name}/tsconfig.build.json refers to ${reference}, which package.json does not depend on`);
    }
    for (const [key, range] of dependencies) {
      const sibling = known.get(key.slice(SCOPE.length));
      if (sibling && range !== `^${sibling.manifest.version}`) problems.push(`packages/${name} wants ${key} ${range}, the workspace has ${sibling.manifest.version}`);
    }
  }
  return problems;
}

/** Third-party versions that are not exact, by manifest. */
export function versionProblems(manifests: readonly { where: string; manifest: Manifest }[]): string[] {
  return manifests.flatMap(({ where, manifest }) =>
    [manifest.dependencies, manifest.devDependencies, manifest.optionalDependencies]
      .flatMap((group) => Object.entries(group ?? {}))
      .filter(([name, range]) => !name.startsWith(SCOPE) && !/^\d+\.\d+\.\d+(-[\w.]+)?$/u.test(range))
      .map(([name, range]) => `${where}: ${name} ${range} is not an exact version`),
  );
}

/** The part of package-lock.json that is looked at. */
export interface LockFile {
  packages: Record<string, { resolved?: string; link?: boolean; optionalDependencies?: Record<string, string> }>;
}

/** Platform packages that the lock file promises but does not hold, and addresses in it. */
export function lockProblems(lock: LockFile): string[] {
  const held = new Set(Object.keys(lock.packages).map((path) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)));
  return Object.entries(lock.packages).flatMap(([path, entry]) => [
    ...Object.keys(entry.optionalDependencies ?? {})
      .filter((name) => !held.has(name))
      .map((name) => `package-lock.json: ${path} wants ${name}, which the lock file does not hold; npm ci would fail elsewhere`),
    ...(entry.resolved && /^https?:/u.test(entry.resolved) ? [`package-lock.json: ${path} names a download address`] : []),
  ]);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const packages = readPackages();
  const manifests = [
    { where: "package.json", manifest: readJson<Manifest>(join(root, "package.json")) },
    ...packages.map(({ name, manifest }) => ({ where: `packages/${name}/package.json`, manifest })),
  ];
  const problems = [
    ...layerProblems(packages, layers),
    ...versionProblems(manifests),
    ...lockProblems(readJson<LockFile>(join(root, "package-lock.json"))),
  ];
  for (const problem of problems) process.stderr.write(`${problem}\n`);
  process.stderr.write(problems.length === 0 ? `layers: ${packages.length} packages in order\n` : `layers: ${problems.length} problems\n`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
