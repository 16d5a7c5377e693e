import { VideoError } from "./errors.ts";

/**
 * The result of some work, or the cancellation that came first. Work that cannot be stopped goes on unseen; `late` gets what it
 * brings then.
 *
 * @throws VideoError `VIDEO_CANCELLED`.
 */
export async function orCancelled<T>(work: Promise<T>, signal: AbortSignal | undefined, late?: (result: T) => unknown): Promise<T> {
  if (!signal) return work;
  const cancelled = new VideoError("the work was cancelled", { code: "VIDEO_CANCELLED", hint: "Run again to continue." });
  let onAbort: (() => void) | undefined;
  const abort = new Promise<never>((_, reject) => {
    onAbort = () => reject(cancelled);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work, abort]);
  } catch (error) {
    if (error === cancelled) work.then((result) => late?.(result), () => undefined);
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort!);
  }
}
