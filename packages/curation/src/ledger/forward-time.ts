/** Makes a clock that goes only forward of one that may be set back: then it goes on from where it was. */
export function forwardTime(now: () => number): () => number {
  let last = now();
  let lost = 0;
  return () => {
    const time = now();
    lost += Math.max(0, last - time);
    last = time;
    return time + lost;
  };
}
