import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openSafetensors, writeSafetensors, type LoadOptions, type NamedArray, type QwenVl } from "@dramascope/qwen-vl";
import { golden } from "../goldens.ts";
import type { Reference } from "../support.ts";

/** Reading checkpoints. */
export function loadingTests(ref: Reference): void {
  const { model } = ref;
  describe("loading", () => {
    it("reports what it read and honours an abort", async () => {
      expect(model.info.parameters).toBe(283_180);
      const seen: number[] = [];
      const controller = new AbortController();
      const before = ref.tf.memory().numTensors;
      const loading = ref.load({ signal: controller.signal, onProgress: ({ loadedBytes, totalBytes }) => { seen.push(loadedBytes / totalBytes); if (seen.length === 3) controller.abort(); } });
      await expect(loading).rejects.toThrow();
      expect(seen.length).toBe(3);
      expect(ref.tf.memory().numTensors).toBe(before);
    });

    it("keeps matrices in bfloat16 where the back end can, and refuses elsewhere", async () => {
      const loading = ref.load({ dtype: "bfloat16" });
      if (ref.binding !== "koffi") await expect(loading).rejects.toMatchObject({ name: "QwenVlError", code: "BFLOAT16_UNAVAILABLE" });
      else (await loading).dispose();
    });

    it("names the folder that is not there", async () => {
      await expect(ref.load({}, join(tmpdir(), "dramascope-no-such-model"))).rejects.toThrow(/config\.json cannot be read/);
    });

    it("names missing, unknown and misshapen tensors and leaves nothing behind", async () => {
      const folder = await mkdtemp(join(tmpdir(), "dramascope-qwen-vl-"));
      const file = await openSafetensors(golden("model-new/model.safetensors"));
      const before = ref.tf.memory().numTensors;
      try {
        const all: NamedArray[] = [];
        for (const name of file.names) all.push({ name, shape: file.info(name).shape, values: (await file.read(name)).values as Float32Array });
        await copyFile(golden("model-new/config.json"), join(folder, "config.json"));
        const loading = async (tensors: NamedArray[], options: Partial<LoadOptions> = {}): Promise<QwenVl> => {
          await writeSafetensors(join(folder, "model.safetensors"), tensors);
          return ref.load(options, folder);
        };
        const norm = "model.language_model.norm.weight";
        await expect(loading(all.filter(({ name }) => name !== norm))).rejects.toThrow(`lacks ${norm}`);
        const extra = [...all, { name: "model.surplus", shape: [1], values: new Float32Array(1) }];
        await expect(loading(extra)).rejects.toThrow(/unknown tensors model\.language_model\.surplus/);
        (await loading(extra, { strict: false })).dispose();
        const short = all.map((tensor) => (tensor.name === norm ? { ...tensor, shape: [32], values: tensor.values.subarray(0, 32) } : tensor));
        await expect(loading(short)).rejects.toThrow(/has shape \[32\], the configuration asks for \[64\]/);
        expect(ref.tf.memory().numTensors).toBe(before);
      } finally {
        await file.close();
        await rm(folder, { recursive: true });
      }
    });
  });
}
