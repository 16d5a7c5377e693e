/** Part of a message to a teacher: text, or one picture as JPEG bytes. */
export type ChatContent = { type: "text"; text: string } | { type: "jpeg"; data: Uint8Array };

/** One message to a teacher. */
export interface ChatRequestMessage {
  role: "system" | "user";
  content: string | readonly ChatContent[];
}

/** Which piece of work a call belongs to; sent along only where the provider takes metadata. */
export interface ChatTrace {
  drama: string;
  /** 1-based. */
  round?: number;
}

/** One call. */
export interface ChatRequest {
  task: string;
  messages: readonly ChatRequestMessage[];
  temperature: number;
  /** Default 1. */
  topP?: number;
  maxTokens: number;
  seed?: number;
  trace?: ChatTrace;
}

/** Tokens of a call. */
export interface Usage {
  promptTokens: number;
  completionTokens: number;
  /** `estimated` from the length of texts where the provider says nothing. */
  source: "reported" | "estimated";
}

/** How a call ended. */
export type Outcome =
  | { kind: "ok"; content: string; finish: string; model: string; usage: Usage; cost: number; attempts: number }
  /** The provider refuses this content; never tried again. */
  | { kind: "blocked"; code: string; usage: Usage | null; cost: number; attempts: number }
  /** An answer without usable content. */
  | { kind: "unusable"; code: string; usage: Usage | null; cost: number; attempts: number }
  /** Every attempt failed in passing; worth another run. */
  | { kind: "parked"; code: string; cost: number; attempts: number }
  /** Nothing will work: wrong key, unknown model. */
  | { kind: "fatal"; code: string; message: string; attempts: number }
  /** The budget allows no further call. */
  | { kind: "budget"; attempts: number };

/** Calls a teacher model. */
export interface TeacherClient {
  call(request: ChatRequest, signal?: AbortSignal): Promise<Outcome>;
  /** Money spent so far, unknown outcomes counted as spent. */
  spent(): number;
  close(): Promise<void>;
}
