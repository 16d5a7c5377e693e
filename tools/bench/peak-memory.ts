import { readFileSync, writeFileSync } from "node:fs";

/** Forgets the highest resident memory of this process so far; Linux. */
export function resetPeak(): void {
  writeFileSync("/proc/self/clear_refs", "5");
}

/** Highest resident memory of this process since {@link resetPeak}, MiB; Linux. */
export function peakMiB(): number {
  return Number(/^VmHWM:\s+(\d+)/mu.exec(readFileSync("/proc/self/status", "latin1"))![1]) / 1024;
}
