import { DramascopeError } from "@dramascope/schema";

/** Input or settings from which no hot value can be computed. */
export class HotValueError extends DramascopeError {}
