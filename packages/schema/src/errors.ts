/** What every Dramascope error carries beside its sentence. */
export interface ErrorDetails {
  /** Stable name for programs, in SCREAMING_SNAKE. */
  code: string;
  /** What the reader should do next, one sentence. */
  hint?: string | undefined;
  /** The error or value that led here. */
  cause?: unknown;
}

const BRAND = Symbol.for("dramascope.error");

/**
 * Base of every error that Dramascope throws on purpose. The message says what was given, where, and what is wrong;
 * `hint` says what to do. Branded by a registered symbol, so that two copies of a package recognise each other's errors.
 */
export class DramascopeError extends Error {
  readonly [BRAND] = true;
  /** Stable name for programs, in SCREAMING_SNAKE. */
  readonly code: string;
  /** What the reader should do next, one sentence. */
  readonly hint?: string;

  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = details.code;
    if (details.hint !== undefined) this.hint = details.hint;
  }

  /** True for errors of this family from any copy of the package. */
  static isInstance(value: unknown): value is DramascopeError {
    return typeof value === "object" && value !== null && (value as Record<symbol, unknown>)[BRAND] === true;
  }
}

/** A record, line or file that does not have the promised form. */
export class DataError extends DramascopeError {}
