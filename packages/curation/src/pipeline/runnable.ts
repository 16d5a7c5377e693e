import type { CurationConfig } from "../config.ts";
import { CurationError } from "../errors.ts";

/**
 * Finds settings that cannot go together before anything is read or paid.
 *
 * @throws CurationError `CONFIG_INVALID`.
 */
export function assertRunnable({ budget, teacher }: CurationConfig): void {
  if (budget.maxCost !== undefined && teacher.prices === undefined) {
    throw new CurationError("budget.maxCost is set, but teacher.prices is not: nothing would ever be counted", { code: "CONFIG_INVALID", hint: "Give the provider's prices, or leave the budget out." });
  }
}
