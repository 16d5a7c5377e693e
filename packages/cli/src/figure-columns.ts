import { formatNumber, type Column } from "@dramascope/report";

const COUNTS = new Set(["n", "answered", "true", "predicted"]);

/** Columns of figures with three digits; counts have none. */
export const rightColumns = (...titles: string[]): Column[] => titles.map((title) => ({ title, align: "right", ...(!COUNTS.has(title) && { digits: 3 }) }));

/** An interval in brackets; empty where there is none. */
export const intervalText = (low: number | null, high: number | null): string => (low === null || high === null ? "" : `[${formatNumber(low, 3)}, ${formatNumber(high, 3)}]`);
