import { appendFile, mkdir, mkdtemp, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashJson, sha256 } from "@dramascope/schema";
import { beforeEach, describe, expect, it } from "vitest";
import { hashWeights } from "../src/weight-hashes.ts";

let folder: string;
let kept: string;
beforeEach(async () => {
  const here = await mkdtemp(join(tmpdir(), "dramascope-hashes-"));
  [folder, kept] = [join(here, "model"), join(here, "kept")];
  await mkdir(folder);
  await writeFile(join(folder, "b.safetensors"), "bb");
  await writeFile(join(folder, "a.safetensors"), "aa");
  await writeFile(join(folder, "config.json"), "{}");
});

const hashOf = (a: string, b: string): string => hashJson([["a.safetensors", sha256(a)], ["b.safetensors", sha256(b)]]);
const entries = async (): Promise<string[]> => (await readdir(kept)).map((name) => join(kept, name));

describe("the hash of a folder's weights", () => {
  it("is over their names and contents, kept or not", async () => {
    for (const where of [undefined, kept, kept]) expect(await hashWeights(folder, where)).toBe(hashOf("aa", "bb"));
    expect(await entries()).toHaveLength(2);
    await expect(hashWeights(kept)).rejects.toThrow(expect.objectContaining({ code: "MODEL_NOT_FOUND" }) as Error);
  });

  it("is taken from the files that are kept, without reading the weights, until these change", async () => {
    await hashWeights(folder, kept);
    const strange = "0".repeat(64);
    for (const entry of await entries()) await writeFile(entry, `${strange}\n`);
    expect(await hashWeights(folder, kept)).toBe(hashJson([["a.safetensors", strange], ["b.safetensors", strange]]));
    await appendFile(join(folder, "a.safetensors"), "!");
    expect(await hashWeights(folder, kept)).toBe(hashJson([["a.safetensors", sha256("aa!")], ["b.safetensors", strange]]));
    await utimes(join(folder, "b.safetensors"), new Date(0), new Date(0));
    expect(await hashWeights(folder, kept)).toBe(hashOf("aa!", "bb"));
  });

  it("is made anew where a kept one is damaged", async () => {
    await hashWeights(folder, kept);
    for (const entry of await entries()) await writeFile(entry, (await readFile(entry, "utf8")).slice(0, 20));
    expect(await hashWeights(folder, kept)).toBe(hashOf("aa", "bb"));
  });
});
