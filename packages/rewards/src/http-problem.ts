import { RewardError } from "./errors.ts";

/** A request that is answered with an error: the status beside the code and the sentence of the body. */
export class HttpProblem extends RewardError {
  /** HTTP status, 400 … 599. */
  readonly status: number;
  /** Headers of the answer. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: string, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message, { code });
    this.status = status;
    this.headers = headers;
  }
}
