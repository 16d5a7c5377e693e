import { DramascopeError } from "@dramascope/schema";

/** A template that cannot be used, or a variable that does not fit it. */
export class PromptError extends DramascopeError {}
