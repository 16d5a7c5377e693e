import type { LoadedTensorFlow } from "@dramascope/tensorflow";

/** TensorFlow.js with a ready back end. */
export type Tf = LoadedTensorFlow["tf"];
/** A tensor of any rank. */
export type Tensor = InstanceType<Tf["Tensor"]>;
/** A tensor of rank 1. */
export type Tensor1D = ReturnType<Tf["tensor1d"]>;
/** A tensor of rank 2. */
export type Tensor2D = ReturnType<Tf["tensor2d"]>;
