import { DramascopeError } from "@dramascope/schema";

/** A curation run that cannot start, go on or be exported. */
export class CurationError extends DramascopeError {}
