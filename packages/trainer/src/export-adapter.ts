import { copyFile, readdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { readAdapter } from "@dramascope/qwen-vl";
import { writeFolderAtomically } from "@dramascope/schema";
import { readState, verifyCheckpoint } from "./checkpoint.ts";
import { TrainerError } from "./errors.ts";

/** Files that may stand in a folder that an export replaces. */
const OWN: ReadonlySet<string> = new Set(["adapter_model.safetensors", "adapter_config.json", "run-manifest.json", "dramascope.json", "README.md"]);

async function refuseOther(out: string): Promise<void> {
  const names = await readdir(out).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new TrainerError(`${out} cannot take an adapter: ${(error as Error).message}`, { code: "ADAPTER_FOLDER", cause: error, hint: "Give a new folder, not a file." });
  });
  const foreign = names.filter((name) => !OWN.has(name));
  if (foreign.length > 0) throw new TrainerError(`${out} holds more than an adapter: ${foreign.slice(0, 3).join(", ")}`, { code: "ADAPTER_FOLDER", hint: "Give a new folder; only an adapter is replaced." });
}

/**
 * Writes the adapter of a checkpoint as a PEFT folder with its lineage in `run-manifest.json`, whole or absent.
 *
 * @param checkpoint A checkpoint folder.
 * @param out        A new folder, or an adapter's, which is replaced.
 * @returns          Whether the adapter changes anything: one whose B matrices are all zero does not.
 * @throws TrainerError `CHECKPOINT_DAMAGED` naming the file, `ADAPTER_FOLDER`.
 */
export async function exportAdapter(checkpoint: string, out: string): Promise<{ hasEffect: boolean }> {
  const target = resolve(out);
  await refuseOther(target);
  let state: Awaited<ReturnType<typeof readState>>;
  try {
    await verifyCheckpoint(checkpoint);
    state = await readState(checkpoint);
  } catch (error) {
    throw new TrainerError(`${checkpoint} cannot be exported: ${(error as Error).message}`, { code: "CHECKPOINT_DAMAGED", cause: error, hint: "Take another checkpoint of the run." });
  }
  await writeFolderAtomically(target, async (temporary) => {
    for (const name of ["adapter_model.safetensors", "adapter_config.json"]) await copyFile(join(checkpoint, name), join(temporary, name));
    await writeFile(join(temporary, "run-manifest.json"), `${JSON.stringify({ ...state.lineage, step: state.step, drift: state.drift }, null, 2)}\n`);
  });
  const { modules } = await readAdapter(target);
  return { hasEffect: modules.some(({ b }) => b.values.some((value) => value !== 0)) };
}
