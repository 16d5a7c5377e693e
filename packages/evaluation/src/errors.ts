import { DramascopeError } from "@dramascope/schema";

/** Truths and predictions that cannot be compared as asked. */
export class EvaluationError extends DramascopeError {}
