import { QwenVlError } from "../errors.ts";

/** Whether a module name fits a pattern as a whole; `from` are the places where it may begin. */
export type ModulePattern = (name: string, from?: readonly number[]) => boolean;

/** Places of a text that a part of a pattern leads to from other places. */
type Part = (text: string, from: ReadonlySet<number>) => Set<number>;
type Accepts = (character: string) => boolean;

/** Groups within groups, and characters of an expression, at most. */
const DEPTH = 8;
const LENGTH = 2000;

const DIGIT: Accepts = (character) => character >= "0" && character <= "9";
const joined = (sets: readonly ReadonlySet<number>[]): Set<number> => new Set(sets.flatMap((set) => [...set]));

/** A character, with what may follow it: `?`, `*` or `+`. */
function characters(accepts: Accepts, repeat: string): Part {
  const once: Part = (text, from) => new Set([...from].filter((at) => at < text.length && accepts(text[at]!)).map((at) => at + 1));
  if (repeat === "") return once;
  if (repeat === "?") return (text, from) => joined([from, once(text, from)]);
  return (text, from) => {
    const reached = repeat === "+" ? once(text, from) : new Set(from);
    for (const at of reached) if (at < text.length && accepts(text[at]!)) reached.add(at + 1); // what is added is visited too
    return reached;
  };
}

/**
 * Reads the regular expressions that adapters name modules by: literals, `.`, `\d`, escaped punctuation, sets such as `[^.]` or `[0-9]`, each with `?`, `*` or `+`;
 * groups of alternatives, with `?`; `^` and `$`. They are followed place by place, never backwards, so that no expression of a file can hang the process.
 *
 * @throws QwenVlError `ADAPTER_PATTERN` for everything else.
 */
export function parseModulePattern(source: string, field: string): ModulePattern {
  let at = 0;
  const refuse = (what: string): never => {
    throw new QwenVlError(`${field} ${JSON.stringify(source.slice(0, 200))}: ${what}`, { code: "ADAPTER_PATTERN", hint: "Use names or suffixes of modules, or an expression of literals, . \\d [^.] with ? * +, and groups of alternatives." });
  };
  const next = (wanted: string): boolean => source.startsWith(wanted, at) && (at += wanted.length) > 0;
  const escaped = (): Accepts => {
    const character = source[at++] ?? refuse("it ends in a backslash");
    if (character === "d") return DIGIT;
    return /[^\sA-Za-z0-9]/u.test(character) ? (one) => one === character : refuse(`\\${character} is not served`);
  };
  const set = (): Accepts => {
    const isNegated = next("^");
    const members: Accepts[] = [];
    while (!next("]")) {
      const [first, dash, last] = [source[at++] ?? refuse("a set does not end"), source[at], source[at + 1]];
      if (first === "\\") members.push(escaped());
      else if (dash === "-" && last !== undefined && last !== "]") {
        members.push((one) => one >= first && one <= last);
        at += 2;
      } else members.push((one) => one === first);
    }
    return (one) => members.some((accepts) => accepts(one)) !== isNegated;
  };
  const part = (depth: number): Part => {
    if (next("(")) {
      if (depth === DEPTH) refuse(`groups stand more than ${DEPTH} deep`);
      if (!next("?:") && source[at] === "?") refuse("(?… is not served");
      const inner = alternatives(depth + 1);
      if (!next(")")) refuse("a group does not end");
      return next("?") ? (text, from) => joined([from, inner(text, from)]) : inner;
    }
    if (next("^")) return (_, from) => new Set([...from].filter((place) => place === 0));
    if (next("$")) return (text, from) => new Set([...from].filter((place) => place === text.length));
    const character = source[at++]!;
    if ("*+?{}".includes(character)) refuse(`${character} stands where it is not served`);
    const accepts = character === "." ? () => true : character === "\\" ? escaped() : character === "[" ? set() : (one: string) => one === character;
    const repeat = ["*", "+", "?"].find(next) ?? "";
    if (repeat !== "") next("?"); // whether few or many come first changes nothing for a whole name
    return characters(accepts, repeat);
  };
  const alternatives = (depth: number): Part => {
    const all: Part[][] = [[]];
    while (at < source.length && source[at] !== ")") {
      if (next("|")) all.push([]);
      else all.at(-1)!.push(part(depth));
    }
    return (text, from) => joined(all.map((parts) => parts.reduce<ReadonlySet<number>>((places, one) => one(text, places), from)));
  };
  if (source.length > LENGTH) refuse(`it has ${source.length} characters, at most ${LENGTH} are read`);
  const whole = alternatives(0);
  if (at < source.length) refuse("a group ends that did not begin");
  return (name, from = [0]) => whole(name, new Set(from)).has(name.length);
}
