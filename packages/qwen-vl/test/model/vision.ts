import { describe, expect, it } from "vitest";
import { frameLayout } from "../../src/vision/frame-layout.ts";
import { recordBodies } from "../bodies/record.ts";
import { goldenTensors } from "../goldens.ts";
import { difference, leakFree, type Reference } from "../support.ts";

/** Features of the tower. */
export function visionTests(ref: Reference): void {
  const { model } = ref;
  describe("vision", () => {
    it("gives the reference's features, encoded together or one by one", async () => {
      const together = await leakFree(ref, async () => {
        const features = await model.encodeVideos(ref.items);
        const values = await Promise.all(features.map((f) => f.tensor.data()));
        for (const f of features) f.dispose();
        return values;
      });
      const flat = Float32Array.from(together.flatMap((v) => [...v]));
      expect(difference(flat, ref.features)).toBeLessThan(5e-5);
      const [alone] = await model.encodeVideos([ref.items[1]!]);
      expect(difference(await alone!.tensor.data(), together[1]!)).toBeLessThan(1e-5);
      alone!.dispose();
    });

    it("gives the reference's embedded patches and first block on the way", async () => {
      const expected = await goldenTensors("vision.safetensors");
      const bodies = await recordBodies(async () => {
        for (const features of await model.encodeVideos(ref.items)) features.dispose();
      }, { atMost: 1 });
      const rows = (name: string, places: readonly number[]): Float32Array => {
        const { shape, values } = bodies.find((body) => body.name === name)!.outputs["y"]!;
        return Float32Array.from(places.flatMap((place) => [...values.subarray(place * shape[1]!, (place + 1) * shape[1]!)]));
      };
      const places = Array.from({ length: 32 }, (_, i) => i);
      const { patches } = frameLayout(ref.items[0]!.grid[1], ref.items[0]!.grid[2], model.config.vision);
      expect(difference(rows("patch_embed", places.map((patch) => patches.indexOf(patch))), expected["video_patch_embed_first32"]!.values)).toBeLessThan(5e-5);
      expect(difference(rows("vision_block", places), expected["video_block0_permuted_first32"]!.values)).toBeLessThan(5e-5);
    });

    it("batches items of one grid", async () => {
      const many = await model.encodeVideos([ref.items[1]!, ref.items[0]!, ref.items[1]!, ref.items[1]!]);
      const values = await Promise.all(many.map((f) => f.tensor.data()));
      expect(difference(values[0]!, ref.features.subarray(ref.features.length - values[0]!.length))).toBeLessThan(5e-5);
      expect(difference(values[3]!, values[0]!)).toBeLessThan(1e-5);
      expect(difference(values[1]!, ref.features.subarray(0, values[1]!.length))).toBeLessThan(5e-5);
      for (const f of many) f.dispose();
    });
  });
}
