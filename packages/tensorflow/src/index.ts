export { bfloat16Support, uploadBfloat16, type Bfloat16Support } from "./bfloat16.ts";
export type { Binding } from "./candidates.ts";
export { compile, type AsyncCallOptions, type Compiled, type CompiledInputs, type CompileOptions, type Tensors } from "./compile.ts";
export { TensorFlowError } from "./errors.ts";
export { loadTensorFlow, type CandidateOutcome, type Diagnostics, type LoadedTensorFlow, type LoadTensorFlowOptions } from "./load.ts";
export { mapTensorFile, type TensorFileEntry } from "./map-tensor-file.ts";
export type { Body, Inputs, MatmulOptions, Ops, OpsDtype, TensorSpec } from "./ops.ts";
export { RawTensor, type RawTensorOwner, type TensorLike } from "./raw-tensor.ts";
export { tfjsOps } from "./tfjs-ops.ts";
