/** One progress report of a long piece of work. */
export interface Progress {
  /** What is being done, for people, for example "sft" or "frames". */
  phase: string;
  /** Finished units. */
  done: number;
  /** All units, when known. */
  total?: number;
  /** Short extra text, for example the current loss. */
  note?: string;
  /** Figures behind the note, for programs. */
  figures?: Readonly<Record<string, number>>;
}

/** Receives progress; called often, must be cheap. */
export type OnProgress = (progress: Progress) => void;
