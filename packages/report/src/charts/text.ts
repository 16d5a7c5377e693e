const isWide = (code: number): boolean => code >= 0x1100 && (code <= 0x115f || (code >= 0x2e80 && code <= 0xa4cf) || (code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff) || (code >= 0xfe30 && code <= 0xfe6f) || (code >= 0xff00 && code <= 0xff60) || code >= 0x1f300);

/** Estimated width of a text in a drawing, in user units; drawings cannot measure. */
export function textWidth(text: string, size = 13): number {
  let width = 0;
  for (const character of text) width += isWide(character.codePointAt(0)!) ? 1.02 : 0.61;
  return width * size;
}

/** A text cut with `…` so that it fits. */
export function fitText(text: string, width: number, size = 13): string {
  if (textWidth(text, size) <= width) return text;
  let fitted = "";
  for (const character of text) {
    if (textWidth(`${fitted}${character}…`, size) > width) break;
    fitted += character;
  }
  return `${fitted}…`;
}
