import { DramascopeError } from "@dramascope/schema";

/** A chat client that cannot be set up. */
export class ChatError extends DramascopeError {}
