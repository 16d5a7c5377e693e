import { mkdir, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { sha256 } from "@dramascope/schema";
import { orAbsent, stateOf, uniqueName } from "./io.ts";

/** A process as others on the same cache can tell whether it lives. */
export interface ProcessIdentity {
  /** Machine and process id space, 16 hex digits. */
  machine: string;
  pid: number;
  /** Clock ticks from the machine's start to the process's; `0` where the system does not say. */
  start: string;
}

const MARK = /^(?<key>[0-9a-f]{64})\.(?<machine>[0-9a-f]{16})\.(?<pid>\d{1,10})\.(?<start>\d{1,20})\.[0-9a-f]+$/u;
/** A mark of another machine, whose processes cannot be asked, counts as alive this long. Milliseconds. */
const FOREIGN_LIFE_MS = 86_400_000;

/** State letter and start time of a process (fields 3 and 22 of its stat file on Linux), or null where the system does not say. */
async function processState(pid: number | "self"): Promise<{ state: string; start: string } | null> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  if (text === null) return null;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" "); // the name before may hold spaces and brackets
  return { state: fields[0]!, start: fields[19]! };
}

/** The identity of this process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  const space = await readlink("/proc/self/ns/pid").catch(() => "");
  return { machine: sha256(`${hostname()}\0${space}`).slice(0, 16), pid: process.pid, start: (await processState("self"))?.start ?? "0" };
}

async function lives(pid: number, start: string): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  const now = await processState(pid);
  if (now === null || start === "0") return true;
  return now.start === start && now.state !== "Z" && now.state !== "X";
}

async function isAlive(folder: string, name: string, own: ProcessIdentity, now: number): Promise<boolean> {
  const { machine, pid, start } = MARK.exec(name)!.groups!;
  if (machine === own.machine) return lives(Number(pid), start!);
  const state = await stateOf(join(folder, name));
  return state !== null && now - Number(state.mtimeMs) < FOREIGN_LIFE_MS;
}

/** Leaves a mark of this process on a key. Returns the mark's path; removing that file takes the mark back. */
export async function leaveMark(folder: string, key: string, { machine, pid, start }: ProcessIdentity): Promise<string> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${key}.${machine}.${pid}.${start}.${uniqueName()}`);
  await writeFile(path, "", { flag: "wx" });
  return path;
}

/** True when a living process, this one included, has a mark on the key. */
export async function isMarked(folder: string, key: string, own: ProcessIdentity, now: number): Promise<boolean> {
  const names = (await orAbsent(readdir(folder))) ?? [];
  for (const name of names) if (name.startsWith(key) && MARK.test(name) && (await isAlive(folder, name, own, now))) return true;
  return false;
}

/** Removes the marks of processes that are gone. Returns how many. */
export async function removeDeadMarks(folder: string, own: ProcessIdentity, now: number): Promise<number> {
  let removed = 0;
  for (const name of (await orAbsent(readdir(folder))) ?? []) {
    if (!MARK.test(name) || (await isAlive(folder, name, own, now))) continue;
    await rm(join(folder, name), { force: true });
    removed++;
  }
  return removed;
}
