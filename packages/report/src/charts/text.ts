/** Ranges of letters as wide as they are tall: East Asian scripts, full-width forms, pictographs. */
const WIDE: readonly (readonly [number, number])[] = [[0x1100, 0x115f], [0x2e80, 0xa4cf], [0xac00, 0xd7a3], [0xf900, 0xfaff], [0xfe30, 0xfe6f], [0xff00, 0xff60], [0x1f300, 0x3ffff]];
const isWide = (code: number): boolean => code >= 0x1100 && WIDE.some(([first, last]) => code >= first && code <= last);

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
