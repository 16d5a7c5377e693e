const MARK = "[key]";

/**
 * Makes a function that takes a secret out of texts, also where it stands escaped for JSON or for an address. It is used on every text
 * that comes from a provider, for some echo the key in their errors.
 *
 * @param secret Nothing is taken out without one.
 */
export function redactSecret(secret: string | undefined): (text: string) => string {
  if (secret === undefined || secret === "") return (text) => text;
  const forms = [...new Set([secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret), Buffer.from(secret).toString("base64")])];
  return (text) => forms.reduce((clean, form) => clean.replaceAll(form, MARK), text);
}
