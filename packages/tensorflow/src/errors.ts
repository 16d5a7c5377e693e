import { DramascopeError } from "@dramascope/schema";

/** A TensorFlow that cannot be found, loaded or used as asked. */
export class TensorFlowError extends DramascopeError {}
