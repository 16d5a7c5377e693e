import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadQwenVl, pullModel, type QwenVl } from "@dramascope/qwen-vl";
import { loadTensorFlow, type LoadedTensorFlow } from "@dramascope/tensorflow";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { golden } from "./goldens.ts";

const withCode = (code: string): Error => expect.objectContaining({ name: "QwenVlError", code }) as Error;

let tf: LoadedTensorFlow["tf"];
let folder: string;
let source: string;
let model: QwenVl;
beforeAll(async () => {
  ({ tf } = await loadTensorFlow({ threads: 1 }));
  folder = await mkdtemp(join(tmpdir(), "dramascope-save-"));
  source = join(folder, "source");
  await cp(golden("model"), source, { recursive: true });
  for (const name of ["pulled.json", "pulling.json", "dramascope.json", "LICENSE", "README.md", "NOTICE.txt", "modeling.py", "notes.md"]) await writeFile(join(source, name), "{}");
  model = await loadQwenVl(source, { tf });
});
afterAll(async () => {
  model.dispose();
  await rm(folder, { recursive: true });
});

describe("a saved checkpoint", () => {
  it("has the settings and papers of its source and nothing that speaks of the old weights", async () => {
    const target = join(folder, "saved");
    await model.saveMerged(target);
    expect((await readdir(target)).sort()).toEqual([
      "LICENSE", "NOTICE.txt", "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
    ]);
    await expect(pullModel("studio/tiny-vl", { out: target, endpoint: "http://127.0.0.1:9" })).rejects.toThrow(withCode("PULL_FOLDER"));
    await writeFile(join(target, "dramascope.json"), "{}");
    await model.saveMerged(target);
    expect(await readdir(target)).not.toContain("dramascope.json");
  });

  it.each([
    [{ torch_dtype: "float16" }, { torch_dtype: "bfloat16" }],
    [{ dtype: "float16" }, { dtype: "bfloat16" }],
    [{ torch_dtype: "float16", text_config: { dtype: "float16" }, vision_config: {} }, { torch_dtype: "bfloat16", text_config: { dtype: "bfloat16" }, vision_config: {} }],
    [{}, { torch_dtype: "bfloat16" }],
  ])("says the element type of its own files: %j", async (given, written) => {
    const target = join(folder, "typed");
    const original = await readFile(join(source, "config.json"), "utf8");
    const { torch_dtype: _torchDtype, dtype: _dtype, ...rest } = JSON.parse(original) as Record<string, unknown>;
    await writeFile(join(source, "config.json"), JSON.stringify({ ...rest, ...given }));
    await model.saveMerged(target, { dtype: "bfloat16" });
    expect(JSON.parse(await readFile(join(target, "config.json"), "utf8"))).toEqual({ ...rest, ...written });
    await writeFile(join(source, "config.json"), original);
  });

  it("never takes the place of its source, under no name", async () => {
    const before = await readdir(source);
    await symlink(source, join(folder, "link"));
    for (const target of [source, `${source}/`, join(folder, "saved", "..", "source"), join(folder, "link")]) await expect(model.saveMerged(target)).rejects.toThrow(withCode("CHECKPOINT_FOLDER"));
    expect(await readdir(source)).toEqual(before);
  });

  it("never takes the place of a pulled one", async () => {
    const pulled = join(folder, "pulled");
    await cp(source, pulled, { recursive: true });
    await expect(model.saveMerged(pulled)).rejects.toThrow(/holds more than a checkpoint/u);
  });
});
