import { readFile, stat } from "node:fs/promises";
import { QwenVlError } from "./errors.ts";

/** Text of a file; undefined when there is none. */
export async function readTextIfThere(path: string): Promise<string | undefined> {
  try {
    if (!(await stat(path)).isFile()) throw new Error("it is not a file"); // a pipe would keep its reader waiting
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new QwenVlError(`${path} cannot be read: ${(error as Error).message}`, { code: "CHECKPOINT_FILES", cause: error, hint: "Check the checkpoint folder." });
  }
}

/** Contents of a JSON file; undefined when there is none. */
export async function readJsonIfThere(path: string): Promise<unknown> {
  const text = await readTextIfThere(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new QwenVlError(`${path} is not JSON: ${(error as Error).message}`, { code: "CHECKPOINT_FILES", cause: error, hint: "Fetch the file again." });
  }
}

/** Contents of a JSON file that must be there. */
export async function readJson(path: string): Promise<unknown> {
  const json = await readJsonIfThere(path);
  if (json === undefined) throw new QwenVlError(`${path} cannot be read: there is no such file`, { code: "CHECKPOINT_FILES", hint: "Give a checkpoint folder with config.json and weights." });
  return json;
}
