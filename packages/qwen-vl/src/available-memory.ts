import { readFile } from "node:fs/promises";
import { freemem } from "node:os";

/** Memory that a process may still take. */
export interface AvailableMemory {
  /** Bytes. */
  bytes: number;
  /** What sets the bound: the machine's free memory, a container's limit (cgroup), or the limit of the process (ulimit). */
  from: "system" | "container" | "process";
}

/** Text of a file; undefined when it cannot be read. */
export type ReadText = (path: string) => Promise<string | undefined>;

const readText: ReadText = (path) => readFile(path, "utf8").catch(() => undefined);

/** Bytes of a line such as `MemAvailable:  123 kB`. */
function kibibytes(text: string | undefined, field: string): number | undefined {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, "mu").exec(text ?? "");
  return match === null ? undefined : Number(match[1]) * 1024;
}

/** The folder and those above it, up to the root of the cgroups. */
function withParents(folder: string): string[] {
  const parts = folder.split("/").filter((part) => part !== "");
  return Array.from({ length: parts.length + 1 }, (_, i) => `/${parts.slice(0, parts.length - i).join("/")}`);
}

/** Limit less usage of one cgroup; file pages that the kernel may drop do not count as used. */
async function leftInGroup(read: ReadText, folder: string, [limitFile, usageFile, cacheField]: readonly [string, string, string]): Promise<number> {
  const [limit, usage, stat] = await Promise.all([limitFile, usageFile, "memory.stat"].map((file) => read(`${folder}/${file}`.replaceAll(/\/+/gu, "/"))));
  const bytes = Number(limit?.trim() === "max" ? Number.NaN : limit);
  if (limit === undefined || usage === undefined || Number.isNaN(bytes)) return Number.POSITIVE_INFINITY;
  const cache = Number(new RegExp(`^${cacheField} (\\d+)$`, "mu").exec(stat ?? "")?.[1] ?? 0);
  return Math.max(0, bytes - Math.max(0, Number(usage) - cache));
}

/** What the cgroups of this process, version 1 or 2, and all above them leave. */
async function leftInContainer(read: ReadText): Promise<number> {
  const lines = ((await read("/proc/self/cgroup")) ?? "").split("\n");
  const groups = lines.flatMap((line) => {
    const [, controllers, folder] = /^\d+:([^:]*):(\/.*)$/u.exec(line) ?? [];
    if (folder === undefined) return [];
    if (controllers === "") return withParents(folder).map((path) => leftInGroup(read, `/sys/fs/cgroup${path}`, ["memory.max", "memory.current", "inactive_file"]));
    if (controllers?.split(",").includes("memory") !== true) return [];
    return withParents(folder).map((path) => leftInGroup(read, `/sys/fs/cgroup/memory${path}`, ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"]));
  });
  return Math.min(Number.POSITIVE_INFINITY, ...(await Promise.all(groups)));
}

/** What the limit of address space leaves to this process. */
async function leftInProcess(read: ReadText): Promise<number> {
  const limit = /^Max address space\s+(\d+)\s/mu.exec((await read("/proc/self/limits")) ?? "")?.[1];
  const used = kibibytes(await read("/proc/self/status"), "VmSize");
  return limit === undefined || used === undefined ? Number.POSITIVE_INFINITY : Math.max(0, Number(limit) - used);
}

/** The least of what the machine, the container and the process leave. Outside Linux only the machine is asked. */
export async function availableMemory(read: ReadText = readText): Promise<AvailableMemory> {
  const found: AvailableMemory[] = [
    { from: "system", bytes: kibibytes(await read("/proc/meminfo"), "MemAvailable") ?? freemem() },
    { from: "container", bytes: await leftInContainer(read) },
    { from: "process", bytes: await leftInProcess(read) },
  ];
  return found.reduce((least, one) => (one.bytes < least.bytes ? one : least));
}
