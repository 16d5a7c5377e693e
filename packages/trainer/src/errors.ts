import { DramascopeError } from "@dramascope/schema";

/** A training run that cannot start, go on or be resumed as asked. */
export class TrainerError extends DramascopeError {}
