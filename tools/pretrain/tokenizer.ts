/** Learns a byte-level BPE tokenizer and writes it in the form of tokenizer.json. */

/** How the real checkpoints cut text before merges: words with one leading symbol, single digits, punctuation, white space. */
const SPLIT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const SPLIT_IN_JS = /'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/gu;

const SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"];

/** Byte → printable character, as GPT-2's byte-level alphabet has it. */
function byteAlphabet(): string[] {
  const printable = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let extra = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : 256 + extra++));
}

/** A learnt tokenizer: the JSON document and its special ids. */
export interface LearntTokenizer {
  json: Record<string, unknown>;
  size: number;
  idOf: (special: string) => number;
}

/** Merges the most frequent pair again and again; equal counts go to the pair that sorts first, so the result is fixed. */
export function learnTokenizer(corpus: Iterable<string>, options: { targetSize: number; minFrequency: number }): LearntTokenizer {
  const alphabet = byteAlphabet();
  const words = new Map<string, number>();
  for (const text of corpus) {
    for (const [piece] of text.matchAll(SPLIT_IN_JS)) {
      const word = [...Buffer.from(piece, "utf8")].map((byte) => alphabet[byte]!).join(" ");
      words.set(word, (words.get(word) ?? 0) + 1);
    }
  }
  let entries = [...words].map(([word, count]) => ({ symbols: word.split(" "), count }));
  const vocab = [...alphabet].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  const merges: [string, string][] = [];
  while (vocab.length + SPECIAL.length < options.targetSize) {
    const pairs = new Map<string, number>();
    for (const { symbols, count } of entries) {
      for (let i = 0; i + 1 < symbols.length; i++) {
        const pair = `${symbols[i]!} ${symbols[i + 1]!}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + count);
      }
    }
    let best: [string, number] | undefined;
    for (const pair of pairs) if (!best || pair[1] > best[1] || (pair[1] === best[1] && pair[0] < best[0])) best = pair;
    if (!best || best[1] < options.minFrequency) break;
    const [left, right] = best[0].split(" ") as [string, string];
    merges.push([left, right]);
    vocab.push(left + right);
    entries = entries.map(({ symbols, count }) => ({ symbols: mergePair(symbols, left, right), count }));
  }
  const ids = Object.fromEntries(vocab.map((token, id) => [token, id]));
  const idOf = (special: string): number => vocab.length + SPECIAL.indexOf(special);
  const json = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content) => ({ id: idOf(content), content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: SPLIT }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false, vocab: ids, merges },
  };
  return { json, size: vocab.length + SPECIAL.length, idOf };
}

function mergePair(symbols: string[], left: string, right: string): string[] {
  const merged: string[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      merged.push(left + right);
      i++;
    } else {
      merged.push(symbols[i]!);
    }
  }
  return merged;
}
