export type { Binding } from "./candidates.ts";
export { compile, type Compiled, type CompileOptions, type Tensors } from "./compile.ts";
export { createCompileCache, type CompileCache, type CompileCacheOptions } from "./compile-cache.ts";
export { TensorFlowError } from "./errors.ts";
export { loadTensorFlow, type CandidateOutcome, type Diagnostics, type LoadedTensorFlow, type LoadTensorFlowOptions } from "./load.ts";
export type { Body, Inputs, MatmulOptions, Ops, OpsDtype, TensorSpec } from "./ops.ts";
export { tfjsOps } from "./tfjs-ops.ts";
