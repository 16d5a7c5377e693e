/** New-style name of a checkpoint's tensor: hub names and `base_model.model.` prefixes included. */
export function canonicalName(name: string): string {
  const bare = name.startsWith("base_model.model.") ? name.slice("base_model.model.".length) : name;
  if (bare.startsWith("visual.")) return `model.${bare}`;
  if (!bare.startsWith("model.") || bare.startsWith("model.language_model.") || bare.startsWith("model.visual.")) return bare;
  return `model.language_model.${bare.slice("model.".length)}`;
}

/** Hub name of a new-style name. */
export function hubName(name: string): string {
  if (name.startsWith("model.visual.")) return name.slice("model.".length);
  if (name.startsWith("model.language_model.")) return `model.${name.slice("model.language_model.".length)}`;
  return name;
}
