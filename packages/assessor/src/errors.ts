import { DramascopeError } from "@dramascope/schema";

/** A drama that cannot be assessed as asked. */
export class AssessorError extends DramascopeError {}
