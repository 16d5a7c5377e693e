import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { QwenVlError } from "./errors.ts";
import { openSafetensors } from "./safetensors.ts";
import type { SafetensorsFile } from "./safetensors.ts";
import type { LoadOptions, QwenVlConfig } from "./types.ts";
import { canonicalName } from "./weight-names.ts";
import { weightShapes } from "./weight-shapes.ts";
import { Weights } from "./weights.ts";

const INDEX = "model.safetensors.index.json";

/** Files of a checkpoint by the index, or the single file; with the index also what it promises. */
async function checkpointFiles(dir: string): Promise<{ files: string[]; promised: Map<string, string> | undefined }> {
  let text: string;
  try {
    text = await readFile(join(dir, INDEX), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return { files: ["model.safetensors"], promised: undefined };
  }
  const map = (JSON.parse(text) as { weight_map?: unknown }).weight_map;
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

interface Place {
  file: SafetensorsFile;
  name: string;
}

/** Where every tensor stands, by new-style name. */
function findTensors(dir: string, opened: readonly SafetensorsFile[], promised: Map<string, string> | undefined): Map<string, Place> {
  const places = new Map<string, Place>();
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

function checkTensors(dir: string, places: Map<string, Place>, shapes: Map<string, readonly number[]>, config: QwenVlConfig, strict: boolean): string[] {
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
  }
  // Reading in the order of the files keeps the disk sequential.
  const order = new Map([...places.keys()].map((name, i) => [name, i]));
  return [...shapes.keys()].sort((a, b) => order.get(a)! - order.get(b)!);
}

/** Reads a checkpoint folder's weights tensor by tensor onto the back end. */
export async function loadWeights(dir: string, config: QwenVlConfig, options: LoadOptions): Promise<Weights> {
  const { files, promised } = await checkpointFiles(dir);
  const opened: SafetensorsFile[] = [];
  const weights = new Weights(options.tf);
  try {
    for (const name of files) {
      const path = join(dir, name);
      await access(path).catch((cause: unknown) => {
        throw new QwenVlError(`${path} does not exist`, { code: "CHECKPOINT_FILES", cause, hint: "A checkpoint folder holds config.json and model.safetensors, or shards with an index." });
      });
      opened.push(await openSafetensors(path));
    }
    const places = findTensors(dir, opened, promised);
    const shapes = weightShapes(config);
    const names = checkTensors(dir, places, shapes, config, options.strict ?? true);
    const totalBytes = names.reduce((sum, name) => sum + places.get(name)!.file.info(places.get(name)!.name).bytes, 0);
    let loadedBytes = 0;
    for (const name of names) {
      options.signal?.throwIfAborted();
      const { file, name: own } = places.get(name)!;
      const { values, bytes, dtype } = await file.read(own);
      if (!(values instanceof Float32Array)) throw new QwenVlError(`${file.path}: weight ${own} is ${dtype}, expected F32, F16 or BF16`, { code: "CHECKPOINT_DTYPE", hint: "Convert the checkpoint." });
      weights.put(name, values, shapes.get(name)!);
      loadedBytes += bytes;
      options.onProgress?.({ tensor: name, loadedBytes, totalBytes });
    }
    return weights;
  } catch (error) {
    weights.dispose();
    throw error;
  } finally {
    for (const file of opened) await file.close();
  }
}
