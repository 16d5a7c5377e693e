import { readdirSync, readFileSync } from "node:fs";
import ts from "typescript";
import { describe, expect, it } from "vitest";

/** Every regular expression of the package, and why it cannot be slow. */
const KNOWN = new Map([
  ["tokenize.ts /[\\p{L}\\p{N}]/u", "one code point"],
  ["tokenize.ts /\\p{M}/u", "one code point"],
  ["metrics.ts /^[\\w.-]{1,32}$/u", "anchored, one class, at most 32 characters"],
]);

const SOURCES = new URL("../src/", import.meta.url);

function parse(name: string): ts.SourceFile {
  return ts.createSourceFile(name, readFileSync(new URL(name, SOURCES), "utf8"), ts.ScriptTarget.Latest, true);
}

function collect<T>(file: ts.SourceFile, pick: (node: ts.Node) => T | undefined): T[] {
  const found: T[] = [];
  const visit = (node: ts.Node): void => {
    const one = pick(node);
    if (one !== undefined) found.push(one);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

const files = readdirSync(SOURCES).filter((name) => name.endsWith(".ts")).map(parse);

describe("the sources", () => {
  it("hold only regular expressions that are known to be linear", () => {
    const found = files.flatMap((file) => collect(file, (node) => (ts.isRegularExpressionLiteral(node) ? `${file.fileName} ${node.text}` : undefined)));
    expect(found.sort()).toEqual([...KNOWN.keys()].sort());
  });

  it("make no regular expression from text", () => {
    const made = files.flatMap((file) => collect(file, (node) => (ts.isIdentifier(node) && node.text === "RegExp" ? file.fileName : undefined)));
    expect(made).toEqual([]);
  });

  it("split and replace by literal strings only", () => {
    const methods = new Set(["split", "replace", "replaceAll", "match", "matchAll", "search"]);
    const calls = files.flatMap((file) =>
      collect(file, (node) => (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression) && methods.has(node.expression.name.text) ? node.arguments[0] : undefined)),
    );
    expect(calls.length).toBeGreaterThan(0);
    expect(calls.filter((argument) => !ts.isStringLiteral(argument)).map((argument) => argument.getText())).toEqual([]);
  });
});
