/** Marks that move a terminal's cursor, turn text around, or cannot be seen. */
const MARKS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu;

/** A line from outside that is safe to show: well-formed, without such marks, of bounded length. */
export const cleanLine = (text: string, maxLength: number): string => text.toWellFormed().replace(MARKS, " ").slice(0, maxLength).toWellFormed();
