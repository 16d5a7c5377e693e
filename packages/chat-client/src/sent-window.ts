import type { Clock } from "./clock.ts";

/** Part of a window that is kept free for what networks add between two requests. */
const NETWORK_SHARE = 0.01;

/**
 * Keeps true sending times: a request goes out a window after the one that stands `rpm` places before it, whatever timers did to that one.
 * Requests of other processes are not seen.
 */
export function createSentWindow({ rpm = Infinity, windowMs }: { rpm?: number | undefined; windowMs: number }, clock: Clock): (signal?: AbortSignal) => Promise<void> {
  if (rpm === Infinity) return () => Promise.resolve();
  const times = new Float64Array(Math.max(1, Math.floor(rpm))).fill(-Infinity);
  let next = 0;
  return async (signal) => {
    const mine = next;
    next = (next + 1) % times.length;
    const time = Math.max(clock.now(), times[mine]! + windowMs * (1 + NETWORK_SHARE));
    times[mine] = time;
    await clock.sleep(time - clock.now(), signal);
    times[mine] = clock.now();
  };
}
