/** Part of a message to a teacher. */
export type ChatContent =
  | { type: "text"; text: string }
  /** One picture as JPEG bytes; sent as a data URL. */
  | { type: "jpeg"; data: Uint8Array }
  /** A video behind an address; `fps` is the frames a second that the provider shall look at, default the provider's. */
  | { type: "videoUrl"; url: string; fps?: number }
  /** A file that the provider holds already. */
  | { type: "fileId"; id: string };

/** One message to a teacher. */
export interface ChatRequestMessage {
  /** Texts from strangers belong into `user` messages alone. */
  role: "system" | "user";
  /** Text, or parts in the order in which the model sees them. */
  content: string | readonly ChatContent[];
}

/** Which piece of work a call belongs to; sent along only where the provider takes metadata or trace headers. */
export interface ChatTrace {
  /** Id of the drama. */
  drama: string;
  /** 1-based. */
  round?: number;
  /** What tells apart calls of one drama and round. */
  item?: string;
  /** 1-based; set by {@link Teacher} on every attempt. */
  attempt?: number;
  /** Form of comment labels that is asked for. */
  shape?: "indexed" | "keyed";
}

/** One call. */
export interface ChatRequest {
  /** Name of the task, for example the prompt's id. */
  task: string;
  /** Name of the model at the provider. */
  model: string;
  /** At least one, in the order of the conversation. */
  messages: readonly ChatRequestMessage[];
  /** 0 or more. */
  temperature: number;
  /** In (0, 1]. Default the provider's. */
  topP?: number;
  /** Most tokens of the answer. */
  maxTokens: number;
  /** Seed of the provider's sampling. Default none. */
  seed?: number;
  /** JSON Schema of the answer; sent only where the provider takes one. */
  schema?: { name: string; schema: object };
  /** Default none. */
  trace?: ChatTrace;
}

/** Tokens of a call. */
export interface Usage {
  /** Of everything that was sent, cached tokens included. */
  promptTokens: number;
  /** Of everything that was answered, thoughts included. */
  completionTokens: number;
  /** Part of the prompt tokens that the provider had in its cache. */
  cachedTokens?: number;
  /** `estimated` from texts and pictures where the provider says nothing, or zero. */
  source: "reported" | "estimated";
}

/** What a provider can do. It is told, never guessed. */
export interface Capabilities {
  /** Takes pictures as data URLs. Default true. */
  frames: boolean;
  /** Takes videos by address. Default false. */
  videoUrl: boolean;
  /** Where the frame rate of a video stands: in the `video_url` object, beside it, or nowhere. Default `none`. */
  fpsWhere: "inside" | "beside" | "none";
  /** Takes ids of files that it holds. Default false. */
  fileId: boolean;
  /** Takes `response_format` with a JSON Schema. Default false. */
  jsonSchema: boolean;
  /** Takes `metadata`, a map of strings. Default false. */
  metadata: boolean;
  /** Takes `x-dramascope-*` headers. Default false. */
  traceHeaders: boolean;
  /** Parameter that turns off a reasoning model's own thoughts, and is then sent: `thinking: {type: "disabled"}` or `enable_thinking: false`. Default `none`. */
  thinkingParam: "none" | "thinking" | "enable_thinking";
}

/** How one attempt ended. */
export type Outcome =
  | {
      kind: "ok";
      content: string;
      /** Thoughts that the provider gives apart from the answer. */
      reasoning?: string;
      /** The provider's `finish_reason`; empty where it says none. */
      finish: string;
      /** Name of the model that answered; empty where the provider says none. */
      model: string;
      usage: Usage;
      requestId?: string;
      /** Milliseconds from sending to the last byte. */
      ms: number;
    }
  /** Failed in passing. `maybePaid`: the provider may have charged for it. */
  | { kind: "retry"; code: string; retryAfterMs?: number; maybePaid: boolean; usage?: Usage }
  /** The provider refuses this content; never tried again. Without `usage` nothing was charged. */
  | { kind: "blocked"; code: string; usage?: Usage }
  /** An answer, or a refusal of the request's form, that is of no use. Without `usage` nothing was charged. */
  | { kind: "unusable"; code: string; raw?: string; finish?: string; model?: string; usage?: Usage }
  /** No call will work: wrong key, unknown model, account overdue. */
  | { kind: "fatal"; code: string; message: string };

/** Calls a teacher model, one attempt a call. */
export interface TeacherClient {
  /**
   * Sends one request and judges what comes back; whatever a provider does is an outcome.
   *
   * @throws ChatError `MEDIA_UNSUPPORTED` for a form of media that the provider does not take; the signal's reason when it is aborted.
   */
  call(request: ChatRequest, signal?: AbortSignal): Promise<Outcome>;
  /** What the provider is said to take. */
  capabilities(): Capabilities;
  /** Closes connections; calls in flight end as `retry`. */
  close(): Promise<void>;
}
