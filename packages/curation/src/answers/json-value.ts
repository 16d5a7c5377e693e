/** A JSON value with objects as entry lists: no key is ever a property, and repeated keys stay visible. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;

/** An object's entries in order, with the places of their values. */
export class JsonObject {
  readonly entries: [key: string, value: JsonValue, start: number, end: number][] = [];

  /** First value of a key; undefined when it is absent. */
  get(key: string): JsonValue | undefined {
    return this.entries.find(([name]) => name === key)?.[1];
  }

  /** Where the first value of a key begins and ends (exclusive) in the text that was read; undefined when it is absent. */
  placeOf(key: string): [start: number, end: number] | undefined {
    const entry = this.entries.find(([name]) => name === key);
    return entry && [entry[2], entry[3]];
  }

  /** Keys in order, repeated ones included. */
  keys(): string[] {
    return this.entries.map(([key]) => key);
  }
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/uy;
const WORDS: readonly (readonly [string, JsonValue])[] = [["true", true], ["false", false], ["null", null]];

/** Reads strict JSON; undefined when it is not. Nesting must have been bounded before. */
export function parseJsonValue(text: string): JsonValue | undefined {
  let at = 0;
  const failed = Symbol("failed");
  const skip = (): void => {
    while (at < text.length && " \t\r\n".includes(text[at]!)) at++;
  };
  const string = (): string | typeof failed => {
    const start = at++;
    while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
    if (at >= text.length) return failed;
    at++;
    try {
      return JSON.parse(text.slice(start, at)) as string;
    } catch {
      return failed;
    }
  };
  const list = (close: string, item: () => boolean): boolean => {
    at++;
    skip();
    if (text[at] === close) {
      at++;
      return true;
    }
    for (;;) {
      if (!item()) return false;
      skip();
      if (text[at] === close) {
        at++;
        return true;
      }
      if (text[at] !== ",") return false;
      at++;
      skip();
    }
  };
  const value = (): JsonValue | typeof failed => {
    skip();
    const first = text[at];
    if (first === '"') return string();
    if (first === "[") {
      const items: JsonValue[] = [];
      const isWhole = list("]", () => {
        const one = value();
        if (one === failed) return false;
        items.push(one);
        return true;
      });
      return isWhole ? items : failed;
    }
    if (first === "{") {
      const object = new JsonObject();
      const isWhole = list("}", () => {
        if (text[at] !== '"') return false;
        const key = string();
        skip();
        if (key === failed || text[at] !== ":") return false;
        at++;
        skip();
        const start = at;
        const one = value();
        if (one === failed) return false;
        object.entries.push([key, one, start, at]);
        return true;
      });
      return isWhole ? object : failed;
    }
    const word = WORDS.find(([name]) => text.startsWith(name, at));
    if (word) {
      at += word[0].length;
      return word[1];
    }
    NUMBER.lastIndex = at;
    const match = NUMBER.exec(text);
    if (!match) return failed;
    at += match[0].length;
    return Number(match[0]);
  };
  const result = value();
  skip();
  return result === failed || at < text.length ? undefined : result;
}
