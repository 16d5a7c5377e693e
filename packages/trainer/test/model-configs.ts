import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseConfig, type QwenVlConfig } from "@dramascope/qwen-vl";

/** Folder of the demo's base model. */
export const DEMO_FOLDER = fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url));
/** Its configuration. */
export const DEMO = parseConfig(JSON.parse(readFileSync(`${DEMO_FOLDER}/config.json`, "utf8")));

/** The shape of Qwen2.5-VL-7B. */
export const SEVEN_B: QwenVlConfig = {
  ...DEMO,
  text: { ...DEMO.text, hiddenSize: 3584, intermediateSize: 18_944, layers: 28, heads: 28, kvHeads: 4, headDim: 128, vocabSize: 152_064 },
  vision: { ...DEMO.vision, depth: 32, hiddenSize: 1280, heads: 16, intermediateSize: 3420, outHiddenSize: 3584, fullAttentionBlocks: [7, 15, 23, 31] },
};
