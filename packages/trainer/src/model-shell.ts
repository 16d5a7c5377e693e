import { copyFile, mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSafetensors } from "@dramascope/qwen-vl";

const BYTES: Readonly<Record<string, number>> = { F64: 8, F32: 4, BF16: 2, F16: 2 };
const LAYER = /(?:^|\.)layers\.(\d+)\./u;

/** Name, type and shape of every weight of a folder, from the headers of its files. */
export async function weightHeaders(folder: string): Promise<{ name: string; dtype: string; shape: readonly number[] }[]> {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".safetensors")).sort();
  const out: { name: string; dtype: string; shape: readonly number[] }[] = [];
  for (const name of files) {
    const file = await openSafetensors(join(folder, name));
    for (const tensor of file.names) {
      const { dtype, shape } = file.info(tensor);
      out.push({ name: tensor, dtype, shape });
    }
    await file.close();
  }
  return out;
}

/** A file of the given weights, all zero: a header before a hole, which takes no room on the disk. */
async function writeZeros(path: string, weights: readonly { name: string; dtype: string; shape: readonly number[] }[]): Promise<void> {
  let at = 0;
  const entries = weights.map(({ name, dtype, shape }) => {
    const start = at;
    at += shape.reduce((a, b) => a * b, BYTES[dtype] ?? 4);
    return [name, { dtype, shape, data_offsets: [start, at] }] as const;
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const header = Buffer.alloc(8);
  header.writeBigUInt64LE(BigInt(json.length));
  const file = await open(path, "wx");
  try {
    await file.write(Buffer.concat([header, json]));
    await file.truncate(8 + json.length + at);
  } finally {
    await file.close();
  }
}

/**
 * Calls a function with a folder that holds a model of the same widths with few decoder layers and weights of zero: it takes as long
 * a layer as the real one, and nothing of the real weights is read.
 */
export async function withModelShell<T>(folder: string, layers: number, use: (shell: string) => Promise<T>): Promise<T> {
  const shell = await mkdtemp(join(tmpdir(), "dramascope-shell-"));
  try {
    const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
    const text = config["text_config"];
    if (typeof text === "object" && text !== null) Object.assign(text, { num_hidden_layers: layers, layer_types: undefined });
    else config["num_hidden_layers"] = layers;
    await writeFile(join(shell, "config.json"), JSON.stringify(config));
    await copyFile(join(folder, "generation_config.json"), join(shell, "generation_config.json")).catch(() => undefined);
    const kept = (await weightHeaders(folder)).filter(({ name }) => Number(LAYER.exec(name)?.[1] ?? 0) < layers);
    await writeZeros(join(shell, "model.safetensors"), kept);
    return await use(shell);
  } finally {
    await rm(shell, { recursive: true, force: true });
  }
}
