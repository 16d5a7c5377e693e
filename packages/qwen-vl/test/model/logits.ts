import { describe, expect, it } from "vitest";
import { QwenVlError, type ChatMessage, type ChatPart, type Prompt, type QwenVl, type VisionItem } from "@dramascope/qwen-vl";
import { golden } from "../goldens.ts";
import { difference, leakFree, type Reference } from "../support.ts";

/** Logits of the whole model. */
export function logitsTests(ref: Reference): void {
  const { model } = ref;
  describe("logits", () => {
    const logitsOf = async (m: QwenVl, prompt: Prompt, options: Parameters<QwenVl["forward"]>[1] = {}): Promise<Float32Array> =>
      leakFree(ref, async () => {
        const result = await m.forward(prompt, options);
        const values = (await result.logits.data()) as Float32Array;
        result.dispose();
        return values;
      });

    it("equal the reference on all rows and repeat bit by bit", async () => {
      const first = await logitsOf(model, ref.whole, { rows: "all" });
      const worst = difference(first, ref.text["logits_qwen"]!.values);
      expect(worst).toBeLessThan(1e-4);
      expect(await logitsOf(model, ref.whole, { rows: "all" })).toEqual(first);
    });

    it("take a completion, other positions and chosen rows", async () => {
      const tail = ref.text["logits_hf5_tail"]!;
      const at = ref.prompt.ids.length - 1;
      const rows = Array.from({ length: tail.shape[0]! }, (_, i) => at + i);
      const positionIds = Int32Array.from(ref.text["position_ids_hf5"]!.values);
      expect(difference(await logitsOf(model, ref.prompt, { completion: ref.completions[0]!, rows, positionIds }), tail.values)).toBeLessThan(1e-4);
      expect(difference(await logitsOf(model, ref.hf5, { completion: ref.completions[0]!, rows }), tail.values)).toBeLessThan(1e-4);
    });

    it("equal the reference for messages that are prepared here, under both position rules", async () => {
      const [first, second] = ref.items as [VisionItem, VisionItem];
      const said = (text: string): ChatPart => ({ type: "text", text });
      const messages: ChatMessage[] = [{
        role: "user",
        content: [
          said("Episode 1:\n"), { type: "video", item: first }, said("\nEpisode 2:\n"), { type: "video", item: second },
          said("\nPlease rate the hot value of this short drama. 请给这部短剧的热度打分,1到5。"),
        ],
      }];
      const completion = ref.completions[0]!;
      const prompt = model.prepare(messages, { timeBase: "true-fps" });
      expect(difference(await logitsOf(model, prompt, { completion, rows: "all" }), ref.text["logits_qwen"]!.values)).toBeLessThan(1e-4);
      const other = await ref.load({ mrope: "hf5" });
      const tail = ref.text["logits_hf5_tail"]!;
      const rows = Array.from({ length: tail.shape[0]! }, (_, i) => prompt.ids.length - 1 + i);
      expect(difference(await logitsOf(other, other.prepare(messages, { timeBase: "true-fps" }), { completion, rows }), tail.values)).toBeLessThan(1e-4);
      other.dispose();
    });

    it("equal the reference for an image, with features given or not", async () => {
      const expected = ref.text["second_logits_qwen_last"]!.values;
      expect(difference(await logitsOf(model, ref.second), expected)).toBeLessThan(1e-4);
      const features = await model.encodeVideos(ref.second.vision);
      expect(difference(await logitsOf(model, { ...ref.second, features }), expected)).toBeLessThan(1e-4);
      for (const f of features) f.dispose();
    });

    it("give a token the same logits whatever follows it", async () => {
      const long = ref.model.prepare([{ role: "user", content: "one two three ".repeat(150) }]);
      const [all, part] = [long.ids.length, 60];
      expect(all).toBeGreaterThan(400);
      const short = { ...long, ids: long.ids.slice(0, part), positionIds: Int32Array.from({ length: 3 * part }, (_, i) => i % part), segments: [{ text: part }], nextPosition: part };
      const few = await logitsOf(model, short, { rows: "all" });
      const many = await logitsOf(model, long, { rows: "all" });
      expect(difference(many.subarray(0, few.length), few)).toBeLessThan(1e-4);
    });

    it("agree for small chunks and for the folder with new names", async () => {
      const whole = await logitsOf(model, ref.whole, { rows: "all" });
      const chunked = await ref.load({ queryChunk: 7, logitsChunk: 5 });
      expect(difference(await logitsOf(chunked, ref.whole, { rows: "all" }), whole)).toBeLessThan(1e-4);
      chunked.dispose();
      const renamed = await ref.load({}, golden("model-new"));
      expect(await logitsOf(renamed, ref.whole, { rows: "all" })).toEqual(whole);
      renamed.dispose();
    });

    it("refuse prompts whose vision tokens do not fit", async () => {
      await leakFree(ref, () => expect(model.forward({ ...ref.prompt, vision: ref.items.slice(1) })).rejects.toThrow(/204 vision tokens in the text, 24 features from 1 items/));
      await leakFree(ref, () => expect(model.forward({ ...ref.prompt, vision: [ref.items[1]!, { ...ref.items[1]!, patches: new Uint8Array(3) }] })).rejects.toThrow(QwenVlError));
    });
  });
}
