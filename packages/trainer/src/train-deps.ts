import type { QwenVl } from "@dramascope/qwen-vl";
import type { OnProgress, TrainingSample } from "@dramascope/schema";
import type { SampleEncoder } from "./encoder.ts";
import type { RunPlan } from "./run-plan.ts";

/** What training needs beside its settings. */
export interface TrainDeps {
  model: QwenVl;
  encoder: SampleEncoder;
  /** Stops after the current step, with a checkpoint. */
  signal?: AbortSignal;
  onProgress?: OnProgress;
  /** Things a person should know: a damaged checkpoint, groups without spread, cut completions. */
  onWarning?: (text: string) => void;
  /** Hash of the model's files, part of the run's identity. Default its number of weights. */
  modelHash?: string;
  /** Name of back end, device and threads, part of the run's identity: a resumed run is the same bit for bit on the same one only. Default none. */
  backend?: string;
  /** Whether a run may go on with other settings, data, model or back end; what differs is then written in `run.json`. Default `refuse`. */
  onDrift?: "refuse" | "allow";
  /** Seconds from any fixed start; for step times. */
  clock?: () => number;
  /** Seconds since 1970; for TensorBoard. Default the system's clock. */
  wallClock?: () => number;
  /** What was planned for the run, from `planRun`; after three steps `onWarning` hears how it fits. */
  plan?: RunPlan;
  /** Writes contact sheets of what the model sees of a sample, returns their paths. Where it is given, previews are written to `preview/`. */
  sheets?: (sample: TrainingSample) => Promise<string[]>;
}

/** What a run gives. */
export interface TrainResult {
  /** PEFT folder of the trained adapter; undefined when the run was stopped before its end. */
  adapter: string | undefined;
  /** Finished optimiser steps. */
  steps: number;
  /** All steps are done. */
  finished: boolean;
}
