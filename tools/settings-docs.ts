/**
 * The settings of a curation for editors (a JSON Schema) and for people (SETTINGS.md), from the schema that checks them and the comments on
 * it. Says whether the committed files are current; `--update` writes them.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import ts from "typescript";
import { curationJsonSchema } from "../packages/curation/src/config.ts";
import { root } from "./workspace.ts";

/** A part of a JSON Schema, as far as it is looked at here. */
export interface SchemaNode {
  type?: string;
  description?: string;
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  properties?: Record<string, SchemaNode>;
  required?: string[];
  items?: SchemaNode;
  oneOf?: SchemaNode[];
  anyOf?: SchemaNode[];
  [keyword: string]: unknown;
}

type Constants = ReadonlyMap<string, ts.Expression>;

/** The object literals that describe a value's settings: of a nested group, of a list's items, of each of several forms. */
function settingGroups(expression: ts.Expression, constants: Constants): ts.ObjectLiteralExpression[] {
  if (ts.isIdentifier(expression)) {
    const constant = constants.get(expression.text);
    return constant ? settingGroups(constant, constants) : [];
  }
  if (!ts.isCallExpression(expression) || !ts.isPropertyAccessExpression(expression.expression)) return [];
  const [first, second] = expression.arguments;
  switch (expression.expression.name.text) {
    case "strictObject":
      return first && ts.isObjectLiteralExpression(first) ? [first] : [];
    case "array":
      return first ? settingGroups(first, constants) : [];
    case "discriminatedUnion":
      return second && ts.isArrayLiteralExpression(second) ? second.elements.flatMap((one) => settingGroups(one, constants)) : [];
    default:
      return settingGroups(expression.expression.expression, constants);
  }
}

const commentOf = (node: ts.Node): string | undefined => {
  const text = ts.getJSDocCommentsAndTags(node).map(({ comment }) => ts.getTextOfJSDocComment(comment) ?? "").join(" ").replace(/\s+/gu, " ").replace(/\{@link (\w+)\}/gu, "$1");
  return text === "" ? undefined : text;
};

const formsOf = (node: SchemaNode): SchemaNode[] => (node.items ? formsOf(node.items) : (node.oneOf ?? node.anyOf ?? [node]));

function describeGroup(node: SchemaNode, group: ts.ObjectLiteralExpression, constants: Constants): void {
  for (const property of group.properties) {
    if (!property.name || !ts.isIdentifier(property.name)) continue;
    const setting = node.properties?.[property.name.text];
    if (!setting) continue;
    const comment = commentOf(property);
    if (comment !== undefined) setting.description = comment;
    const value = ts.isPropertyAssignment(property) ? property.initializer : property.name;
    const forms = formsOf(setting);
    settingGroups(value, constants).forEach((inner, i) => {
      if (forms[i]) describeGroup(forms[i], inner, constants);
    });
  }
}

/** A JSON Schema with comments as descriptions: those of the source of the zod schema that it was made of, a constant of that name. */
export function describedSchema(schema: SchemaNode, source: string, name: string): SchemaNode {
  const file = ts.createSourceFile("config.ts", source, ts.ScriptTarget.Latest, true);
  const constants = new Map<string, ts.Expression>();
  for (const statement of file.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    for (const { name: variable, initializer } of statement.declarationList.declarations) if (ts.isIdentifier(variable) && initializer) constants.set(variable.text, initializer);
  }
  const described = structuredClone(schema);
  for (const group of settingGroups(constants.get(name)!, constants)) describeGroup(described, group, constants);
  return described;
}

const cell = (text: string): string => text.replaceAll("|", "\\|");

/** One line for each setting that is no group. */
function rowsOf(node: SchemaNode, prefix: string): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([name, setting]) => {
    const path = `${prefix}${name}`;
    const forms = formsOf(setting).filter(({ properties }) => properties !== undefined);
    const isList = setting.items !== undefined;
    const isNeeded = node.required?.includes(name) === true;
    const choices = setting.enum ?? setting.items?.enum;
    const words = [setting.description ?? "", choices ? `One of ${choices.map((one) => `\`${String(one)}\``).join(", ")}.` : ""].filter((text) => text !== "").join(" ");
    const value = isNeeded ? "needed" : setting.default === undefined || forms.length > 0 ? "" : `\`${JSON.stringify(setting.default)}\``;
    const own = forms.length === 0 || words !== "" ? [`| \`${path}\` | ${cell(value)} | ${cell(words)} |`] : [];
    const isOneOf = forms.length > 1;
    const inner = forms.flatMap((form) => rowsOf(isOneOf ? withoutChoice(form) : form, `${path}${isList ? "[]" : ""}.`));
    return [...own, ...(isOneOf ? [`| \`${path}.driver\` | needed | ${forms.map(({ properties }) => `\`${String(properties!["driver"]!.const)}\``).join(" or ")} |`] : []), ...inner];
  });
}

const withoutChoice = (form: SchemaNode): SchemaNode => {
  const { driver: _driver, ...properties } = form.properties!;
  return { ...form, properties };
};

/** The settings as a table. */
export function settingsTable(schema: SchemaNode): string {
  return `# Settings of a curation

What \`dramascope.yaml\` may hold, and \`parseCurationConfig\` takes. \`--set rounds.max=4\` overrides the file for once; paths are relative to the file; an unknown name is an error. \`curation.schema.json\` says the same to
editors. Written from \`src/config.ts\` by \`npm run api\`.

| setting | default | |
|---|---|---|
${rowsOf(schema, "").join("\n")}
`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const folder = join(root, "packages", "curation");
  const schema = describedSchema(curationJsonSchema(), readFileSync(join(folder, "src", "config.ts"), "utf8"), "curationConfig");
  const files = new Map([["curation.schema.json", `${JSON.stringify(schema, null, 2)}\n`], ["SETTINGS.md", settingsTable(schema)]]);
  for (const [name, text] of files) {
    const path = join(folder, name);
    if (process.argv.includes("--update")) writeFileSync(path, text);
    else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
      process.stderr.write(`packages/curation/${name} differs from the settings in src/config.ts: run npm run api\n`);
      process.exitCode = 1;
    }
  }
}
