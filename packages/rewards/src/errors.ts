import { DramascopeError } from "@dramascope/schema";

/** A reference, matrix or setting that rewards cannot work with. Completions never cause one. */
export class RewardError extends DramascopeError {}
