import { mergeSettings } from "@dramascope/trainer";
import { usageError } from "./context.ts";
import { CliError } from "./errors.ts";

/** `a.b=1` as { a: { b: 1 } }; an error shows the example. */
async function assignment(text: string, example: string): Promise<Record<string, unknown>> {
  const { parse } = await import("yaml");
  const split = text.indexOf("=");
  const path = text.slice(0, Math.max(0, split)).split(".");
  if (!path.every((part) => /^[A-Za-z]\w*$/u.test(part))) throw usageError(`--set wants path=value such as ${example}, got ${JSON.stringify(text)}`);
  let value: unknown;
  try {
    value = parse(text.slice(split + 1));
  } catch (error) {
    throw new CliError(`--set ${text}: the value is no YAML: ${(error as Error).message}`, { code: "USAGE", cause: error, hint: "Put quotes round a text with signs." });
  }
  return path.reduceRight<unknown>((inner, part) => Object.fromEntries([[part, inner]]), value) as Record<string, unknown>;
}

/** What `--set path=value` says, all of them together: dots between the parts of a path, the value in YAML; of two for one path the later counts. */
export async function assignedSettings(texts: readonly string[], example: string): Promise<Record<string, unknown>> {
  let settings: Record<string, unknown> = {};
  for (const text of texts) settings = mergeSettings(settings, await assignment(text, example));
  return settings;
}
