/** `rouge-score`: lower-case ASCII words and digits, as Google's package cuts them. `mixed`: also Chinese, Japanese, Korean and South-East Asian text. */
export type TokenizerName = "rouge-score" | "mixed";

/** Letters that are a token each: scripts written without spaces. */
const SINGLE_RANGES: readonly (readonly [number, number])[] = [
  [0x0e01, 0x0e30], [0x0e32, 0x0e33], [0x0e40, 0x0e46], [0x0e81, 0x0eb0], [0x0eb2, 0x0eb3], [0x0ebd, 0x0ec6], [0x0edc, 0x0edf],
  [0x1000, 0x102a], [0x103f, 0x103f], [0x1050, 0x1055], [0x1100, 0x11ff], [0x1780, 0x17b3],
  [0x3005, 0x3007], [0x3021, 0x3029], [0x3031, 0x3035], [0x3038, 0x303c], [0x3041, 0x3096], [0x309d, 0x309f], [0x30a1, 0x30fa],
  [0x30fc, 0x30ff], [0x3105, 0x312f], [0x3131, 0x318e], [0x31a0, 0x31bf], [0x31f0, 0x31ff], [0x3400, 0x4dbf], [0x4e00, 0x9fff],
  [0xa960, 0xa97c], [0xac00, 0xd7a3], [0xd7b0, 0xd7fb], [0xf900, 0xfaff], [0x1b000, 0x1b16f], [0x20000, 0x323af],
];

const isSingle = (code: number): boolean => code >= 0x0e01 && SINGLE_RANGES.some(([first, last]) => code >= first && code <= last);

/** True when a text has letters of scripts written without spaces, which the tokenizer `rouge-score` passes over. */
export function hasUnspacedLetters(text: string): boolean {
  for (const character of text) if (isSingle(character.codePointAt(0)!)) return true;
  return false;
}

const isDropped = (code: number): boolean => code === 0xad || code === 0x200c || code === 0x200d || (code >= 0xfe00 && code <= 0xfe0f) || (code >= 0xe0100 && code <= 0xe01ef);
const isAsciiWord = (code: number): boolean => (code >= 97 && code <= 122) || (code >= 48 && code <= 57);
const LETTER_OR_NUMBER = /[\p{L}\p{N}]/u;
const MARK = /\p{M}/u;

function rougeScoreTokens(text: string): string[] {
  const lower = text.toLowerCase();
  const tokens: string[] = [];
  let start = -1;
  for (let i = 0; i <= lower.length; i++) {
    const inside = i < lower.length && isAsciiWord(lower.charCodeAt(i));
    if (inside && start < 0) start = i;
    else if (!inside && start >= 0) {
      tokens.push(lower.slice(start, i));
      start = -1;
    }
  }
  return tokens;
}

function mixedTokens(text: string): string[] {
  const tokens: string[] = [];
  let run = "";
  let afterSingle = false;
  const flush = (): void => {
    if (run !== "") tokens.push(run);
    run = "";
  };
  for (const character of text.normalize("NFKC").toLowerCase()) {
    const code = character.codePointAt(0)!;
    if (code >= 0x4e00 && code <= 0x9fff) {
      flush();
      tokens.push(character);
      afterSingle = true;
      continue;
    }
    if (isDropped(code)) continue;
    const isWord = code < 128 ? isAsciiWord(code) : LETTER_OR_NUMBER.test(character);
    if (isWord && isSingle(code)) {
      flush();
      tokens.push(character);
      afterSingle = true;
    } else if (code >= 128 && MARK.test(character)) {
      if (run !== "") run += character;
      else if (afterSingle) tokens.push(`${tokens.pop()!}${character}`);
    } else if (isWord) {
      run += character;
      afterSingle = false;
    } else {
      flush();
      afterSingle = false;
    }
  }
  flush();
  return tokens;
}

/** Tokens of a text. Never throws; lone surrogates separate. Default `rouge-score`. */
export function tokenize(text: string, tokenizer: TokenizerName = "rouge-score"): string[] {
  return tokenizer === "mixed" ? mixedTokens(text) : rougeScoreTokens(text);
}
