import type { JsonObject } from "./json-value.ts";

/** Flags an object that has keys which nobody asked for; they are not read. */
export function noteExtraKeys(object: JsonObject, known: readonly string[], flags: Set<string>): void {
  if (object.keys().some((key) => !known.includes(key))) flags.add("extra_keys");
}
