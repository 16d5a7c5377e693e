import { HttpProblem } from "./http-problem.ts";

/** Largest body of a request after unpacking: 32 MiB. */
const MAX_BODY_BYTES = 32 * 1024 * 1024;
/** Bytes of all bodies together that are held at once: 256 MiB. */
const MAX_HELD_BYTES = 8 * MAX_BODY_BYTES;

/** Counts the bytes of bodies that are held by all requests. */
export interface BodyMemory {
  /** Bytes now. */
  held: number;
}

/** A body that was read. Call `release` when the request is answered. */
export interface ReadBody {
  /** UTF-8, decoded. */
  text: string;
  release: () => void;
}

const tooLarge = (): HttpProblem => new HttpProblem(413, "BODY_TOO_LARGE", `the body is larger than ${MAX_BODY_BYTES} bytes`);

/** Bytes of the body, unpacked; refuses what need not be read to be refused. */
function openBody(request: Request): ReadableStream<Uint8Array> {
  const [type] = (request.headers.get("content-type") ?? "").split(";", 1);
  if (type!.trim().toLowerCase() !== "application/json") throw new HttpProblem(415, "UNSUPPORTED_MEDIA_TYPE", "the body must be application/json");
  const encoding = (request.headers.get("content-encoding") ?? "identity").trim().toLowerCase();
  if (encoding !== "identity" && encoding !== "gzip") throw new HttpProblem(415, "UNSUPPORTED_ENCODING", "the body may be plain or gzip");
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const body = (request.body ?? new Blob([]).stream()) as ReadableStream<Uint8Array<ArrayBuffer>>;
  return encoding === "gzip" ? body.pipeThrough(new DecompressionStream("gzip")) : body;
}

/**
 * Reads a JSON body within limits that are counted while it comes in, after unpacking.
 *
 * @throws HttpProblem 415, 413, 408 when it takes longer than `timeoutSeconds`, 429 when all bodies together fill the memory, 400 when it is broken.
 */
export async function readBody(request: Request, memory: BodyMemory, timeoutSeconds: number): Promise<ReadBody> {
  const reader = openBody(request).getReader();
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new HttpProblem(408, "BODY_TIMEOUT", `the body did not arrive within ${timeoutSeconds} seconds`)), timeoutSeconds * 1000);
  const pieces: string[] = [];
  let bytes = 0;
  const release = (): void => {
    memory.held -= bytes;
    bytes = 0;
  };
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), late.promise]);
      if (done) break;
      bytes += value.byteLength;
      memory.held += value.byteLength;
      if (bytes > MAX_BODY_BYTES) throw tooLarge();
      if (memory.held > MAX_HELD_BYTES) throw new HttpProblem(429, "BUSY", "too many bodies are being read", { "retry-after": "1" });
      pieces.push(decoder.decode(value, { stream: true }));
    }
    pieces.push(decoder.decode());
    return { text: pieces.join(""), release };
  } catch (error) {
    release();
    reader.cancel().catch(() => undefined); // the stream may be broken already: that is the error being reported
    throw error instanceof HttpProblem ? error : new HttpProblem(400, "INVALID_BODY", "the body broke off, or is not gzip or UTF-8 as it says");
  } finally {
    clearTimeout(timer);
  }
}
