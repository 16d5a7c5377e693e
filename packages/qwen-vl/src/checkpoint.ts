import { access } from "node:fs/promises";
import { join } from "node:path";
import { QwenVlError } from "./errors.ts";
import { readJsonIfThere } from "./optional-files.ts";
import { openSafetensors } from "./safetensors.ts";
import type { SafetensorsFile } from "./safetensors.ts";
import type { QwenVlConfig } from "./config-types.ts";
import { canonicalName } from "./weight-names.ts";
import { weightShapes } from "./weight-shapes.ts";

const INDEX = "model.safetensors.index.json";
/** Element types that weights may have. */
const WEIGHT_DTYPES: ReadonlySet<string> = new Set(["F32", "F16", "BF16"]);

/** Files of a checkpoint by the index, or the single file; with the index also what it promises. */
async function checkpointFiles(dir: string): Promise<{ files: string[]; promised: Map<string, string> | undefined }> {
  const json = await readJsonIfThere(join(dir, INDEX));
  if (json === undefined) return { files: ["model.safetensors"], promised: undefined };
  const map = typeof json === "object" && json !== null ? (json as { weight_map?: unknown }).weight_map : undefined;
  const entries = typeof map === "object" && map !== null ? Object.entries(map) : [];
  if (entries.length === 0 || !entries.every(([, file]) => typeof file === "string" && !file.includes("/") && !file.includes("\\"))) {
    throw new QwenVlError(`${join(dir, INDEX)}: weight_map must map tensor names to file names`, { code: "CHECKPOINT_INDEX", hint: "Fetch the file again." });
  }
  const promised = new Map(entries as [string, string][]);
  return { files: [...new Set(promised.values())].sort(), promised };
}

function listed(names: readonly string[]): string {
  return names.slice(0, 10).join(", ") + (names.length > 10 ? `, … (${names.length} in all)` : "");
}

/** One weight of a checkpoint. */
export interface CheckpointTensor {
  file: SafetensorsFile;
  /** Name in the file. */
  name: string;
}

/** An open checkpoint: every weight that the configuration asks for is there, in its shape. */
export interface Checkpoint {
  /** By new-style name, in the order of the files. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  close(): Promise<void>;
}

/** Where every tensor stands, by new-style name. */
function findTensors(dir: string, opened: readonly SafetensorsFile[], promised: Map<string, string> | undefined): Map<string, CheckpointTensor> {
  const places = new Map<string, CheckpointTensor>();
  for (const file of opened) {
    for (const name of file.names) {
      const canonical = canonicalName(name);
      if (places.has(canonical)) throw new QwenVlError(`${dir}: tensor ${canonical} stands in the checkpoint twice`, { code: "CHECKPOINT_TENSORS", hint: "Remove the file that does not belong to it." });
      places.set(canonical, { file, name });
    }
  }
  const lost = [...(promised ?? [])].filter(([name, file]) => places.get(canonicalName(name))?.file.path !== join(dir, file)).map(([name, file]) => `${name} (${file})`);
  if (lost.length > 0) throw new QwenVlError(`${dir}: files lack tensors that ${INDEX} promises: ${listed(lost)}`, { code: "CHECKPOINT_TENSORS", hint: "Fetch the missing files." });
  return places;
}

/** Keeps what the configuration asks for; throws when something is missing, misshapen or, when strict, too much. */
function checkTensors(dir: string, places: Map<string, CheckpointTensor>, config: QwenVlConfig, strict: boolean): void {
  const shapes = weightShapes(config);
  if (config.tieWordEmbeddings) places.delete("lm_head.weight");
  const missing = [...shapes.keys()].filter((name) => !places.has(name));
  if (missing.length > 0) throw new QwenVlError(`${dir}: the checkpoint lacks ${listed(missing)}`, { code: "CHECKPOINT_TENSORS", hint: "config.json and the weights must belong together." });
  const unknown = [...places.keys()].filter((name) => !shapes.has(name));
  if (unknown.length > 0 && strict) {
    throw new QwenVlError(`${dir}: the checkpoint holds unknown tensors ${listed(unknown)}`, { code: "CHECKPOINT_TENSORS", hint: "strict: false ignores them." });
  }
  for (const [name, shape] of shapes) {
    const { file, name: own } = places.get(name)!;
    const found = file.info(own);
    if (found.shape.join() !== shape.join()) {
      throw new QwenVlError(`${file.path}: tensor ${own} has shape [${found.shape.join(", ")}], the configuration asks for [${shape.join(", ")}]`, {
        code: "CHECKPOINT_SHAPE", hint: "config.json and the weights must belong together.",
      });
    }
    if (!WEIGHT_DTYPES.has(found.dtype)) throw new QwenVlError(`${file.path}: weight ${own} is ${found.dtype}, expected F32, F16 or BF16`, { code: "CHECKPOINT_DTYPE", hint: "Convert the checkpoint." });
  }
  for (const name of unknown) places.delete(name);
}

/** Opens a checkpoint folder's files and compares their headers with the configuration; no weight is read. */
export async function openCheckpoint(dir: string, config: QwenVlConfig, options: { strict: boolean }): Promise<Checkpoint> {
  const { files, promised } = await checkpointFiles(dir);
  const opened: SafetensorsFile[] = [];
  const close = async (): Promise<void> => {
    for (const file of opened) await file.close();
  };
  try {
    for (const name of files) {
      const path = join(dir, name);
      await access(path).catch((cause: unknown) => {
        throw new QwenVlError(`${path} does not exist`, { code: "CHECKPOINT_FILES", cause, hint: "A checkpoint folder holds config.json and model.safetensors, or shards with an index." });
      });
      opened.push(await openSafetensors(path));
    }
    const tensors = findTensors(dir, opened, promised);
    checkTensors(dir, tensors, config, options.strict);
    return { tensors, close };
  } catch (error) {
    await close();
    throw error;
  }
}
