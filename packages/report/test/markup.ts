/** One tag of a page. */
export interface Tag {
  name: string;
  isEnd: boolean;
  attributes: Map<string, string>;
}

const TAG = /<(\/?)([a-z][a-z0-9]*)((?: [a-zA-Z][a-zA-Z0-9-]*="[^"<>]*")*)(\/?)>/uy;
const VOID = new Set(["meta", "link", "img", "br"]);

/** Tags of a page, in order; throws for anything that is not a whole, well-quoted tag. */
export function readTags(page: string): Tag[] {
  const tags: Tag[] = [];
  const body = page.replace(/^<!doctype html>\n/u, "").replace(/<style>[\s\S]*?<\/style>/u, "<style></style>");
  for (let at = body.indexOf("<"); at >= 0; at = body.indexOf("<", at)) {
    TAG.lastIndex = at;
    const match = TAG.exec(body);
    if (!match) throw new Error(`not a tag: ${body.slice(at, at + 80)}`);
    const attributes = new Map([...match[3]!.matchAll(/ ([a-zA-Z0-9-]+)="([^"]*)"/gu)].map((one) => [one[1]!, one[2]!]));
    tags.push({ name: match[2]!, isEnd: match[1] === "/", attributes });
    if (match[4] === "/") tags.push({ name: match[2]!, isEnd: true, attributes: new Map() });
    at += match[0].length;
  }
  return tags;
}

/** What is wrong with the nesting of tags; null when all is well. */
export function nestingError(tags: readonly Tag[]): string | null {
  const open: string[] = [];
  for (const { name, isEnd } of tags) {
    if (VOID.has(name)) continue;
    if (!isEnd) {
      if (open.at(-1) === "p" && ["p", "div", "ul", "table", "figure", "h3"].includes(name)) return `<${name}> inside <p>`;
      open.push(name);
    } else if (open.pop() !== name) return `</${name}> closes another element`;
  }
  return open.length === 0 ? null : `<${open.join("><")}> not closed`;
}
