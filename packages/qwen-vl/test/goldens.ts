import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { openSafetensors, type SafetensorsTensor } from "@dramascope/qwen-vl";

/** Path below the reference data of this package. */
export const golden = (name: string): string => fileURLToPath(new URL(`../../../test-fixtures/goldens/qwen-vl/${name}`, import.meta.url));

/** A JSON file of the reference data; the caller names its form. */
export const goldenJson = <T>(name: string): T => JSON.parse(readFileSync(golden(name), "utf8")) as T;

/** All tensors of a safetensors file of the reference data. */
export async function goldenTensors(name: string): Promise<Record<string, SafetensorsTensor>> {
  const file = await openSafetensors(golden(name));
  try {
    const tensors: Record<string, SafetensorsTensor> = {};
    for (const one of file.names) tensors[one] = await file.read(one);
    return tensors;
  } finally {
    await file.close();
  }
}
