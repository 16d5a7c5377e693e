export { parseConfig } from "./config.ts";
export { QwenVlError } from "./errors.ts";
export { createRng } from "./generate/rng.ts";
export { pickToken, processLogits, type SamplingOptions } from "./generate/sampler.ts";
export { normalisationTable } from "./image/normalise.ts";
export { framesToVisionItem, patchify, type PatchifyOptions, type RgbFrames } from "./image/patchify.ts";
export { resizeBicubic } from "./image/resize.ts";
export { smartResize, type SmartResizeOptions } from "./image/smart-resize.ts";
export { describeMemoryPlan, planMemory, type MemoryPlan, type MemoryPlanOptions } from "./memory-plan.ts";
export { loadQwenVl } from "./model.ts";
export { prepare, type Processor } from "./processor.ts";
export { planPull, pullModel, type PullOptions, type PullPlan, type PullResult } from "./pull.ts";
export type { PullFile } from "./pull-files.ts";
export type { PulledModel } from "./pull-folder.ts";
export { openSafetensors, writeSafetensors, type LazyArray, type NamedArray, type SafetensorsFile, type SafetensorsReadOptions } from "./safetensors.ts";
export type { SafetensorsDtype, SafetensorsInfo, SafetensorsTensor } from "./safetensors-values.ts";
export { createChatTemplate, readChatTemplate, type ChatTemplate, type RenderOptions } from "./template.ts";
export { positionIds, type PositionOptions, type Positions } from "./text/positions.ts";
export { createTokenizer, readTokenizer } from "./tokenizer.ts";
export { parseAdapterConfig, readAdapter, writeAdapter, type AdapterFiles, type AdapterModule } from "./train/adapter-files.ts";
export type {
  AdapterChoice,
  AttachLoraOptions,
  ChatMessage,
  ChatPart,
  CompletionGroup,
  DropoutOptions,
  GenerateOptions,
  GradientOptions,
  Grid,
  GroupGradientOptions,
  LoadOptions,
  LoraAdapter,
  LoraConfig,
  MropeRule,
  PrefixOptions,
  PrepareOptions,
  Prompt,
  QwenTokenizer,
  QwenVl,
  QwenVlConfig,
  Sample,
  ScoreOptions,
  Segment,
  Tensor,
  Tensor1D,
  Tensor2D,
  TextConfig,
  Tf,
  TrainableSet,
  VisionConfig,
  VisionFeatures,
  VisionItem,
} from "./types.ts";
export { windowLayout, type WindowLayout, type WindowOptions } from "./vision/layout.ts";
export { canonicalName, hubName } from "./weight-names.ts";
