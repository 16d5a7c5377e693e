import { readFile } from "node:fs/promises";
import { nearestName, settingNames } from "@dramascope/schema";
import { mergeSettings } from "@dramascope/trainer";
import type { Document, LineCounter, Node } from "yaml";
import type { z } from "zod";
import { CliError } from "./errors.ts";
import { assignedSettings } from "./set-option.ts";

/** Where in a file something stands: `file.yaml:3:5`. */
type PlaceOf = (path: readonly PropertyKey[]) => string;

interface Settings {
  values: Record<string, unknown>;
  placeOf: PlaceOf;
}

const invalid = (message: string, hint = "Correct the named settings.", cause?: unknown): CliError => new CliError(message, { code: "CONFIG_INVALID", hint, cause });

/** The name that stands at a path, or the nearest one above that is there. */
function nodeAt(document: Document, path: readonly PropertyKey[], isMap: (node: unknown) => node is { items: { key: unknown; value: unknown }[] }): Node | undefined {
  let place: Node | undefined;
  let node: unknown = document.contents;
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => String((key as { value?: unknown } | null)?.value) === String(part));
      if (pair === undefined) break;
      place = pair.key as Node;
      node = pair.value;
    } else {
      node = (node as { items?: unknown[] } | null)?.items?.[Number(part)];
      if (node === undefined) break;
      place = node as Node;
    }
  }
  return place;
}

function placesIn(path: string, document: Document, lines: LineCounter, isMap: Parameters<typeof nodeAt>[2]): PlaceOf {
  return (setting) => {
    const offset = nodeAt(document, setting, isMap)?.range?.[0];
    if (offset === undefined) return path;
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}`;
  };
}

/** A YAML file's settings. Nothing in it is carried out: an unknown tag is an error like any other. */
async function readYaml(path: string): Promise<Settings> {
  const { LineCounter, isMap, parseDocument } = await import("yaml");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw invalid(`${path} cannot be read: ${(error as Error).message}`, "Give the path of a YAML file by --config; dramascope init makes one.", error);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem) {
    const { line, col } = lines.linePos(problem.pos[0]);
    throw invalid(`${path}:${line}:${col}: ${problem.message}`, "Correct the YAML.", problem);
  }
  if (!isMap(document.contents)) throw invalid(`${path} must hold settings by name`, "dramascope init makes a file to begin with.");
  try {
    return { values: document.toJS() as Record<string, unknown>, placeOf: placesIn(path, document, lines, isMap as Parameters<typeof nodeAt>[2]) };
  } catch (error) {
    throw invalid(`${path}: ${(error as Error).message}`, "Correct the YAML.", error);
  }
}

const VARIABLE = /\$\{[^}]*\}/u;
const VARIABLE_NAME = /^(?:\$\{(\w+)\}|([A-Za-z_]\w*))$/u;
const SECRET_NAME = /^(?:api_?key|key|token|secret|password)$/iu;

/** Settings whose names end in Env name variables, as `NAME` or `${NAME}`; in no other setting does `${NAME}` mean anything. Their values are never shown: somebody may have put a key there. */
function withVariables(value: unknown, path: readonly string[], placeOf: PlaceOf): unknown {
  const name = path.at(-1) ?? "";
  if (typeof value === "string") {
    if (name.endsWith("Env")) {
      const [, braced, plain] = VARIABLE_NAME.exec(value) ?? [];
      const variable = braced ?? plain;
      if (variable === undefined) throw invalid(`${placeOf(path)}: ${path.join(".")} is not the name of an environment variable`, "Put the secret itself into the environment, and its variable's name here.");
      return variable;
    }
    if (VARIABLE.test(value)) throw invalid(`${placeOf(path)}: ${path.join(".")} holds \${…}, which only settings whose names end in Env may`, "Write the value itself.");
    return value;
  }
  if (Array.isArray(value)) return value.map((one, i) => withVariables(one, [...path, String(i)], placeOf));
  if (typeof value === "object" && value !== null) return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withVariables(one, [...path, key], placeOf)]));
  return value;
}

/** What stands at a path of settings. */
function partOf(value: unknown, path: readonly PropertyKey[]): unknown {
  const [first, ...rest] = path;
  if (first === undefined) return value;
  return typeof value === "object" && value !== null && Object.hasOwn(value, first) ? partOf((value as Record<PropertyKey, unknown>)[first], rest) : undefined;
}

function unknownSetting(path: readonly string[], schema: z.ZodType, placeOf: PlaceOf): CliError {
  const name = path.at(-1)!;
  const start = `${placeOf(path)}: ${path.join(".")} is no setting`;
  if (SECRET_NAME.test(name)) return invalid(start, `Keys do not belong in a file: put it into the environment, and the variable's name into ${[...path.slice(0, -1), "apiKeyEnv"].join(".")}.`);
  const nearest = nearestName(name, settingNames(schema, path.slice(0, -1)));
  return invalid(nearest === undefined ? start : `${start}; did you mean ${[...path.slice(0, -1), nearest].join(".")}?`);
}

/** Of a value that fits none of several forms, the problems with the form that it fits best. */
function flatten(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== "invalid_union") return [issue];
  const [closest] = [...issue.errors].sort((a, b) => a.length - b.length);
  return closest ? closest.flatMap((inner) => flatten({ ...inner, path: [...issue.path, ...inner.path] })) : [issue];
}

/** The problems with their places: an unknown setting alone, for others may only miss what it was meant to be. */
function describe(error: z.ZodError, schema: z.ZodType, placeOf: PlaceOf): CliError {
  const issues = error.issues.flatMap(flatten);
  const unknown = issues.find((issue) => issue.code === "unrecognized_keys");
  if (unknown) return unknownSetting([...unknown.path.map(String), unknown.keys[0]!], schema, placeOf);
  return invalid(issues.map(({ path, message }) => `${placeOf(path)}: ${path.map(String).join(".") || "settings"}: ${message}`).join("\n"));
}

/**
 * Reads a YAML file of settings, lays `--set` over it and checks the whole.
 *
 * @param path   The file.
 * @param schema What it may hold; an unknown name is an error with place and nearest name.
 * @param flags  `set`: texts such as `budget.maxCost=20`; `over`: what other flags say by their names, over both.
 * @returns      The settings, defaults filled in, and where each stands, for errors that come later.
 * @throws CliError `CONFIG_INVALID` with line and column.
 */
export async function readSettings<S extends z.ZodType>(path: string, schema: S, flags: { set?: readonly string[] | undefined; over?: Readonly<Record<`--${string}`, Record<string, unknown>>> } = {}): Promise<{ settings: z.output<S>; placeOf: PlaceOf }> {
  const [file, set] = [await readYaml(path), await assignedSettings(flags.set ?? [], "rounds.max=4")];
  const overrides = [...Object.entries(flags.over ?? {}).reverse(), ["--set", set] as const];
  const placeOf: PlaceOf = (setting) => overrides.find(([, values]) => setting.length > 0 && partOf(values, setting) !== undefined)?.[0] ?? file.placeOf(setting);
  const given = withVariables(overrides.reduceRight((values, [, own]) => mergeSettings(values, own), file.values), [], placeOf);
  const result = schema.safeParse(given);
  if (!result.success) throw describe(result.error, schema, placeOf);
  return { settings: result.data, placeOf };
}
