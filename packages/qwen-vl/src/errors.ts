import { DramascopeError } from "@dramascope/schema";

/** A checkpoint, prompt or call that the model cannot work with. */
export class QwenVlError extends DramascopeError {}
