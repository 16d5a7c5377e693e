export { bfloat16Support, uploadBfloat16, type Bfloat16Support } from "./bfloat16.ts";
export type { Binding } from "./candidates.ts";
export { compile, type Compiled, type CompiledInputs, type CompileOptions, type Tensors } from "./compile.ts";
export { createCompileCache, type CompileCache, type CompileCacheOptions } from "./compile-cache.ts";
export { TensorFlowError } from "./errors.ts";
export { loadTensorFlow, type CandidateOutcome, type Diagnostics, type LoadedTensorFlow, type LoadTensorFlowOptions } from "./load.ts";
export type { Body, Inputs, MatmulOptions, Ops, OpsDtype, TensorSpec } from "./ops.ts";
export { RawTensor, type RawTensorOwner, type TensorLike } from "./raw-tensor.ts";
export { tfjsOps } from "./tfjs-ops.ts";
