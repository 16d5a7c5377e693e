import { z } from "zod";

/**
 * Names of the settings below a place in a schema: of a group, of one item of a list, of all forms where there are several.
 *
 * @param path Names and indices from the top; `[]` is the top itself.
 * @returns    None where no group stands at that place.
 */
export function settingNames(schema: unknown, path: readonly PropertyKey[]): string[] {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault || schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return settingNames(schema.unwrap(), path);
  if (schema instanceof z.ZodUnion) return [...new Set(schema.options.flatMap((option) => settingNames(option, path)))];
  if (schema instanceof z.ZodArray) return path.length === 0 ? [] : settingNames(schema.element, path.slice(1));
  if (!(schema instanceof z.ZodObject)) return [];
  const [first, ...rest] = path;
  return first === undefined ? Object.keys(schema.shape) : (Object.hasOwn(schema.shape, first) ? settingNames((schema.shape as Record<PropertyKey, unknown>)[first], rest) : []);
}
