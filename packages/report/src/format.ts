const NOTHING = "–";

const grouped = (text: string): string => {
  const [whole = "", ...rest] = text.split(".");
  return [whole.replace(/\B(?=(?:\d{3})+$)/gu, ","), ...rest].join(".");
};

/**
 * A number for readers: thousands apart, a true minus sign, a dash for null and NaN.
 *
 * @param digits Digits after the point. Default: none for integers, else enough for about three figures.
 */
export function formatNumber(value: number | null | undefined, digits?: number): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NOTHING;
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size >= 1e15 || (digits === undefined && size > 0 && size < 1e-3)) return sign + size.toExponential(2).replace("e-", "e−").replace("e+", "e");
  const places = digits ?? (Number.isInteger(value) || size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3);
  const text = size.toFixed(places);
  return (Number(text) === 0 ? "" : sign) + grouped(text);
}

/** A share 0 … 1 as a percentage; a dash for null and NaN. Default no digits after the point. */
export function formatPercent(share: number | null | undefined, digits = 0): string {
  const text = formatNumber(share === null || share === undefined ? share : share * 100, digits);
  return text === NOTHING ? text : `${text} %`;
}

/** Seconds as `m:ss`, cut to whole seconds; a dash for null. */
export function formatClock(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NOTHING;
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Seconds for readers: milliseconds below one second, minutes above two. */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return NOTHING;
  if (seconds < 1) return `${formatNumber(seconds * 1000, 0)} ms`;
  if (seconds < 120) return `${formatNumber(seconds, 1)} s`;
  return `${formatNumber(Math.floor(seconds / 60), 0)} min ${formatNumber(Math.round(seconds % 60), 0)} s`;
}
