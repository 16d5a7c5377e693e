import { DramascopeError } from "@dramascope/schema";

/** A checkpoint, prompt or call that the model cannot work with. */
export class QwenVlError extends DramascopeError {}

/** The error of a model that is used after its disposal. */
export function disposed(cause?: unknown): QwenVlError {
  return new QwenVlError("the model was disposed", { code: "DISPOSED", hint: "Load it again.", cause });
}
