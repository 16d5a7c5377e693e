import { normalText } from "../normal-text.ts";
import { JsonObject, type JsonValue } from "./json-value.ts";
import { loadAnswer, type RawAnswer } from "./load-answer.ts";
import { attempt, Refusal, type Parsed } from "./refusal.ts";

/** Labels of comments, in their order. */
export interface LabelsAnswer {
  /** 1 about the drama, 0 not, null unresolved. */
  labels: (0 | 1 | null)[];
  /** Positions without a label. */
  unresolved: number[];
}

/** Labels on their way: what an answer says of each place, and where it contradicts itself. */
class Labels {
  readonly got = new Map<number, 0 | 1>();
  readonly conflicts = new Set<number>();

  put(place: number, label: 0 | 1 | null): void {
    if (label === null) return;
    if (this.got.has(place) && this.got.get(place) !== label) this.conflicts.add(place);
    else this.got.set(place, label);
  }
}

function toBit(value: JsonValue | undefined): 0 | 1 | null {
  if (value === true || value === 1) return 1;
  if (value === false || value === 0) return 0;
  const text = typeof value === "string" ? value.trim() : "";
  return text === "0" ? 0 : text === "1" ? 1 : null;
}

/**
 * Reads labels of comments, by number or, as `keyed`, by their text. What is missing, unknown or contradictory is unresolved, never 1. A
 * comment's text is only compared with keys: what it says is never read as a label.
 *
 * @param comments Texts as they were sent.
 */
export function readLabels(raw: RawAnswer, comments: readonly string[], shape: "indexed" | "keyed" = "indexed"): Parsed<LabelsAnswer> {
  return attempt((flags) => {
    const { value } = loadAnswer(raw, flags, shape === "keyed" ? "kept" : "refused");
    const { got, conflicts } = shape === "keyed" ? keyedLabels(value, comments, flags) : indexedLabels(value, comments.length, flags);
    if (conflicts.size > 0) flags.add("conflict");
    const labels = comments.map((_, i) => (conflicts.has(i) ? null : (got.get(i) ?? null)));
    return { value: { labels, unresolved: labels.flatMap((label, i) => (label === null ? [i] : [])) } };
  });
}

function indexedLabels(value: JsonValue, count: number, flags: Set<string>): Labels {
  const labels = new Labels();
  const items = value instanceof JsonObject ? value.get("labels") : value;
  if (!Array.isArray(items)) throw new Refusal("LABELS_FORM");
  if (items.length > 0 && items.every((item) => toBit(item) !== null)) {
    if (items.length !== count) throw new Refusal("LABELS_FORM");
    flags.add("positional");
    items.forEach((item, i) => labels.put(i, toBit(item)));
    return labels;
  }
  for (const item of items) {
    const place = item instanceof JsonObject ? item.get("i") : undefined;
    if (!(item instanceof JsonObject) || typeof place !== "number" || !Number.isInteger(place)) flags.add("bad_items");
    else if (place < 0 || place >= count) flags.add("unknown_items");
    else {
      const label = toBit(item.get("label"));
      if (label === null) flags.add("bad_items");
      else labels.put(place, label);
    }
  }
  return labels;
}

const placesByText = (texts: readonly string[]): Map<string, number[]> => Map.groupBy(texts.keys(), (i) => texts[i]!);

function keyedLabels(value: JsonValue, comments: readonly string[], flags: Set<string>): Labels {
  if (!(value instanceof JsonObject)) throw new Refusal("LABELS_FORM");
  const labels = new Labels();
  const exact = placesByText(comments);
  const loose = placesByText(comments.map(normalText));
  const seen = new Map<string, 0 | 1 | null>();
  for (const [key, entry] of value.entries) {
    const places = exact.get(key) ?? loose.get(normalText(key));
    if (places === undefined) {
      flags.add("unknown_items");
      continue;
    }
    const label = toBit(entry instanceof JsonObject ? entry.get("label") : entry);
    if (seen.has(key) && seen.get(key) !== label) places.forEach((place) => labels.conflicts.add(place));
    seen.set(key, label);
    places.forEach((place) => labels.put(place, label));
  }
  return labels;
}
