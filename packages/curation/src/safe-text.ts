/** Ends of lines in any form. */
const LINE_END = /\r\n|[\r\u0085\u2028\u2029]/gu;

/**
 * What no reader sees: control characters but tab and line feed, bidirectional marks, zero-width and filling characters, annotation and
 * musical format marks, tags, characters that are none. Half surrogate pairs and U+FFFD say that text was lost, and an answer that
 * repeats them could not be told from a damaged one.
 */
const INVISIBLE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\uffff\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e00ff}\u{e01f0}-\u{e0fff}\p{Surrogate}\p{Noncharacter_Code_Point}]/gu;

/** Joiners that hold no emoji together. */
const JOINER = /(?<!\p{Extended_Pictographic}\p{Emoji_Modifier}?\ufe0f?)\u200d|\u200d(?!\p{Extended_Pictographic})/gu;

/** Variation selectors that change nothing: all but one after a pictograph, inside a keycap, or after an ideograph. */
const SELECTOR = /(?<![0-9#*](?=\ufe0f\u20e3)|\p{Extended_Pictographic}(?=[\ufe0e\ufe0f])|\p{Ideographic}(?=[\ufe00-\ufe02\u{e0100}-\u{e01ef}]))[\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/gu;

/**
 * Text of strangers as it may be shown and sent: well-formed, line ends as `\n`, without anything that cannot be seen. Marks that text
 * can be hidden in go, the joiners and selectors of ordinary emoji stay. Linear in the length; the same text again gives the same.
 */
export function safeText(text: string): string {
  return text.replace(LINE_END, "\n").replace(INVISIBLE, "").replace(SELECTOR, "").replace(JOINER, "");
}
