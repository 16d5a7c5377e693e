import { readdir } from "node:fs/promises";
import { QwenVlError } from "./errors.ts";

/** What may be replaced. */
export interface Replaceable {
  /** For people, such as "a checkpoint". */
  what: string;
  code: string;
  /** Whether a file of this name is a part of it. */
  isOwn: (name: string) => boolean;
}

/** Refuses a folder that holds anything else, for replacing it would delete that. */
export async function refuseOtherFolder(target: string, { what, code, isOwn }: Replaceable): Promise<void> {
  const entries = await readdir(target, { withFileTypes: true }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new QwenVlError(`${target} cannot take ${what}: ${(error as Error).message}`, { code, cause: error, hint: "Give a new folder." });
  });
  const foreign = entries.filter((entry) => !entry.isFile() || !isOwn(entry.name)).map(({ name }) => name);
  if (foreign.length > 0) throw new QwenVlError(`${target} holds more than ${what}: ${foreign.slice(0, 3).join(", ")}${foreign.length > 3 ? ", …" : ""}`, { code, hint: `Give a new folder; only ${what} is replaced.` });
}
