import { safeText } from "./safe-text.ts";

/** Forms of ASCII letters, digits and signs that look or read like them: full width, mathematical, circled, raised. */
const LOOKALIKE = /[\uff10-\uff19\uff20-\uff3a\uff3f\uff41-\uff5a\uff0b\u2070-\u2079\u2080-\u2089\u00b2\u00b3\u00b9\u2460-\u2468\u24b6-\u24ea\u{1ccf0}-\u{1ccf9}\u{1d400}-\u{1d7ff}\u{1fbf0}-\u{1fbf9}]/gu;
/** Digits one to nine in brackets, with a full stop, in two circles, and white in black circles; zeros of their kind. */
const ENCLOSED = /[\u2474-\u247c\u2488-\u2490\u24f5-\u24fd\u24ff\u2776-\u277e\u2780-\u2788\u278a-\u2792\u{1f100}-\u{1f10c}]/gu;
const ENCLOSED_ONES = [0x2474, 0x2488, 0x24f5, 0x2776, 0x2780, 0x278a, 0x1f102];
/** Decimal digits of other scripts. */
const FOREIGN_DIGIT = /[^\P{Nd}0-9]/gu;

/** What makes a key of a digit. */
const KEYCAP = /(?<=\d)\ufe0f?\u20e3/gu;

/** Zero to nine as they are written in Chinese, in trade and by hand. */
const HAN_DIGITS = new Map(["零〇○", "一壹弌幺", "二贰貳弍两兩", "三叁叄參参弎", "四肆", "五伍", "六陆陸", "七柒", "八捌", "九玖"].flatMap((forms, digit) => Array.from(forms, (form) => [form, String(digit)] as const)));
const HAN = [...HAN_DIGITS.keys()].join("");
/** Letters that stand for a digit among digits: Latin, Greek and Cyrillic. */
const LETTER_DIGITS = new Map(["0OoОоΟο", "1lIІі", "3Зз"].flatMap(([digit = "", ...letters]) => letters.map((letter) => [letter, digit] as const)));
const LETTERS = [...LETTER_DIGITS.keys()].join("");
const NO_LETTER = String.raw`[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}]`;

/** What people put between the digits of a number. Commas and colons stand in lists and times, too: see {@link ANY_GAP}. */
const GAP = String.raw`[\s\-\u2010-\u2015\u2212\uff0d.\uff0e·•_~～*#()（）\[\]/|='’\p{Extended_Pictographic}\p{Emoji_Modifier}\u200d\ufe0f]{0,6}`;
/** Anything but words, numbers and prices, between digits that are grouped as those of a mobile phone, or stand alone. */
const ANY_GAP = String.raw`[^\p{L}\p{N}\p{Sc}%]{1,6}`;
const DIGITS = (count: string): string => `(?:${GAP}\\d)${count}`;
const NO_DIGIT_BEFORE = String.raw`(?<!\d)`;
const NO_DIGIT_AFTER = String.raw`(?!\d)`;

/** One label of a host name. */
const LABEL = "[a-z0-9](?:[a-z0-9-]{0,62})";
const DOT = "(?:\\.|\uff0e|。|点(?=com|cn|net)|\\s{1,3}dot\\s{1,3}(?=(?:com|cn|net|org)(?![a-z])))";
/** Endings of host names that are no words that people write after a full stop. */
const TOP = "(?:com|cn|net|org|edu|gov|info|biz|xyz|vip|cc|co|io|dev|icu|ltd|tk|ru|uk|jp|kr|hk|tw|de|fr|eu)";
const WORD_DOT = "\\s{1,3}dot\\s{1,3}";
const MAIL_HOST = "(?:gmail|qq|163|126|foxmail|outlook|hotmail|live|yahoo|icloud|proton|sina)";
const HOST_END = "(?![a-z-])(?::\\d{1,5})?";
/** A character of an address after its host; Chinese text that follows without a space is none. */
const ADDRESS = "[^\\s<>\"'\\[\\]\\p{Script=Han}，。！？、；：“”‘’（）【】《》]";
const HOST_START = "(?<![a-z0-9_@.-])";

/** What people call the messengers where one can reach them. */
const HAN_ACCOUNT = "(?:微信|薇信|威信|徽信|v信|扣扣|企鹅号|群号|q群|加\\s?我?\\s?[v微薇威q扣])";
const HAN_SITE = "(?:抖音|快手|小红书|微博|支付宝|公众号|企鹅|卫星)";
const LATIN_ACCOUNT = "(?<![a-z])(?:wechat|weixin|vx|wx|v\\s?x|qq|tg|telegram|whatsapp|skype|instagram|snapchat|discord)";
const LATIN_SITE = "(?<![a-z])(?:line|ins|ig|snap|facebook|fb|tiktok)(?![a-z])";
const NOUN = "(?:\\s?(?:账号|帐号|号码|号|群|id)){0,3}";
const MARK = "\\s{0,3}(?:[:：=＝]|是|为|→|-?>|➡)\\s{0,3}";
const NUMBER = "\\d(?:[ -]?\\d){4,14}(?![ -]?\\d)";
const NAME = "[a-z0-9_][a-z0-9_.-]{3,30}[a-z0-9_]";
/** A name with a digit or an underscore in it: no word of a sentence. */
const ODD_NAME = `(?=[a-z.-]{0,30}[\\d_])${NAME}`;

const YEAR = "(?:19|20)\\d{2}";
const YEARS = /^(?:[ -]?(?:19|20)\d{2}){1,5}$/u;

/** Digits that nobody can be reached by: one repeated, laughter, declarations of love. */
function isCheer(digits: string): boolean {
  return digits !== "" && (digits === digits.charAt(0).repeat(digits.length) || !/[^23]/u.test(digits) || (digits.length < 100 && /^(?:520|521|1314|233)+$/u.test(digits)));
}

interface Rule {
  /** Bounded in length everywhere: a pattern without an end runs out of stack on a long text. */
  pattern: RegExp;
  /** A character that belongs to the match when it follows; full stops and closing signs at the end do not. */
  tail?: RegExp;
  /** Written instead; undefined: the text stays. */
  label: string | ((match: string, groups: readonly (string | undefined)[]) => string | undefined);
}

const rule = (sources: readonly string[], label: Rule["label"], tail?: string): Rule => ({ pattern: new RegExp(sources.join("|"), "giu"), label, ...(tail === undefined ? {} : { tail: new RegExp(tail, "u") }) });

const digitsOf = (text: string): string => text.replace(/\D/gu, "");

const NUMBER_RULES: readonly Rule[] = [
  rule(
    [
      // a Chinese identity card, and one of the first generation
      `${NO_DIGIT_BEFORE}[1-9]\\d{5}${GAP}\\d{4}${GAP}\\d{4}${GAP}\\d{3}[\\dx](?![\\da-z])`,
      `${NO_DIGIT_BEFORE}[1-9]\\d{5}${GAP}\\d{6}${GAP}\\d{3}${NO_DIGIT_AFTER}`,
      // a bank card
      `${NO_DIGIT_BEFORE}\\d{4}[ -]?\\d{4}[ -]?\\d{4}[ -]?\\d{4}(?:[ -]?\\d{3})?${NO_DIGIT_AFTER}`,
    ],
    (match) => (isCheer(digitsOf(match)) || YEARS.test(match) ? undefined : "[id]"),
  ),
  rule(
    [
      // mainland mobile
      `${NO_DIGIT_BEFORE}(?:(?:\\+|00)?86${GAP})?1${GAP}[3-9]${DIGITS("{9}")}${NO_DIGIT_AFTER}`,
      // the same with anything between its groups or its digits
      `${NO_DIGIT_BEFORE}1[3-9]\\d${ANY_GAP}(?!${YEAR}${ANY_GAP}${YEAR})\\d{4}${ANY_GAP}\\d{4}${NO_DIGIT_AFTER}`,
      `${NO_DIGIT_BEFORE}1(${ANY_GAP})[3-9](?:\\1\\d){9}${NO_DIGIT_AFTER}(?!\\1\\d)`,
      // landline with its area
      `(?:\\(0\\d{2,3}\\)|（0\\d{2,3}）|${NO_DIGIT_BEFORE}0\\d{2,3})[\\s-]{0,2}[2-9]\\d{2,3}[\\s-]?\\d{4}${NO_DIGIT_AFTER}`,
      // with the code of a country
      `(?:\\+|${NO_DIGIT_BEFORE}00)\\s?[1-9]${DIGITS("{7,14}")}${NO_DIGIT_AFTER}`,
      // hotlines, and numbers of three, three and four
      `${NO_DIGIT_BEFORE}[48]00[\\s-]?\\d{3,4}[\\s-]?\\d{3,4}${NO_DIGIT_AFTER}`,
      `(?:\\(\\d{3}\\)|${NO_DIGIT_BEFORE}\\d{3})[\\s.-]{1,2}\\d{3}[\\s.-]\\d{4}${NO_DIGIT_AFTER}`,
    ],
    (match) => (isCheer(digitsOf(match)) ? undefined : "[phone]"),
  ),
  rule(
    [`(电话|手机|座机|热线|号码|(?<![a-z])(?:tel|phone|mobile|call|text|dial)(?![a-z])|☎️?|📞|📱)((?:号码|号)?\\s{0,3}(?:[:：]|是|为|me at|me on|at|on)?\\s{0,3})\\d${DIGITS("{6,14}")}${NO_DIGIT_AFTER}`],
    (_match, [word = "", link = ""]) => `${word}${link}[phone]`,
  ),
  rule([`${NO_DIGIT_BEFORE}\\d{9}`], (match) => (isCheer(match) ? undefined : match.length > 14 ? "[id]" : "[phone]"), "\\d"),
];

/** In this order, and before numbers: an address may hold a number, an account may be one. */
const ADDRESS_RULES: readonly Rule[] = [
  // a key of a model's provider or of a cloud
  rule(
    ["(?<![a-z0-9])(?:sk|ak|pk)-(?:(?=[a-z_-]{0,40}\\d)[a-z0-9_-]{8,200}|(?:[a-z]{1,10}-){0,3}[a-z_]{12,200})", "(?<![a-z0-9])(?:AKIA|LTAI)[a-z0-9]{12,40}(?![a-z0-9])"],
    "[key]",
    "[A-Za-z0-9_-]",
  ),
  // a token that signs a request
  rule(["(?<![a-z0-9])(?:bearer\\s{1,3})?eyj[a-z0-9_-]{6,200}", "(?<![a-z0-9])bearer\\s{1,3}(?=[a-z._~+/-]{0,40}\\d)[a-z0-9._~+/-]{8,200}"], "[key]", "[A-Za-z0-9._~+/=-]"),
  rule([`(?:https?|ftp|wss?)\\s?[:：]\\s?//${ADDRESS}`], "[url]", ADDRESS),
  rule([`(?<![\\w.%+-])[\\w.%+-]{1,200}\\s?(?:@|\\(at\\)|\\[at\\]|【at】|（at）)\\s?${LABEL}(?:${DOT}${LABEL}){1,5}`, `(?<![\\w.%+-])[\\w.%+-]{1,200}\\s{1,3}at\\s{1,3}(?:(?:${LABEL}${WORD_DOT}){1,4}${TOP}|${MAIL_HOST}\\.${TOP})(?![a-z0-9-])`], "[mail]"),
  rule(
    [
      `${HOST_START}(?:${LABEL}${DOT}){1,10}(?:${TOP}${HOST_END}|[a-z]{2,24}${HOST_END}/${ADDRESS})`,
      `${HOST_START}www\\.${LABEL}(?:\\.${LABEL}){1,5}`,
      `(?<![\\d.])(?:\\d{1,3}\\.){3}\\d{1,3}(?![\\d.])(?::\\d{1,5})?`,
    ],
    "[url]",
    ADDRESS,
  ),
  rule(
    [
      `${HAN_ACCOUNT}${NOUN}(?:${MARK}|\\s{0,3})(?:${NUMBER}|${NAME})(?![a-z0-9_])`,
      `(?:${LATIN_ACCOUNT}|${HAN_SITE})${NOUN}(?:${MARK}(?:${NUMBER}|${NAME})|\\s{0,3}(?:${NUMBER}|${ODD_NAME}))(?![a-z0-9_])`,
      `${LATIN_SITE}${NOUN}(?:${MARK}|\\s{0,3})(?:${NUMBER}|${ODD_NAME})(?![a-z0-9_])`,
      `(?<![a-z0-9])[vq]${NOUN}(?:${MARK}(?:${NUMBER}|${ODD_NAME})|\\s{0,3}${NUMBER})(?![a-z0-9_])`,
    ],
    "[account]",
  ),
];

const USER_RULE = rule(["@[\\p{L}\\p{N}_][\\p{L}\\p{N}_.-]{0,39}"], "[user]");

const HAN_RUN = new RegExp(`[\\d${HAN}](?:${GAP}(?:[\\d${HAN}]|O(?![A-NP-Za-z]))){6,40}`, "gu");
const LETTER_RUN = new RegExp(`(?:(?<!${NO_LETTER})[${LETTERS}]{1,4})?\\d(?:[\\d${LETTERS}]{1,40}(?!${NO_LETTER}))?`, "gu");
const HAN_DIGIT = new RegExp(`[${HAN}O]`, "gu");
const LETTER_DIGIT = new RegExp(`[${LETTERS}]`, "gu");
const COUNTING = "0123456789";

/** The text with ASCII digits for seven and more Chinese ones in a row, unless somebody counts, and for letters among digits; as long as the text. */
function inDigits(text: string): string {
  return text
    .replace(HAN_RUN, (run) => {
      const digits = run.replace(HAN_DIGIT, (character) => HAN_DIGITS.get(character) ?? "0");
      return COUNTING.includes(digitsOf(digits)) ? run : digits;
    })
    .replace(LETTER_RUN, (run) => run.replace(LETTER_DIGIT, (letter) => LETTER_DIGITS.get(letter)!));
}

/** The digit that a character stands for; the decimal digits of a script lie in a row. */
function foreignDigit(character: string): string {
  let value = 0;
  while (/\p{Nd}/u.test(String.fromCodePoint(character.codePointAt(0)! - value - 1))) value++;
  return String(value % 10);
}

function enclosedDigit(character: string): string {
  const code = character.codePointAt(0)!;
  const one = ENCLOSED_ONES.find((first) => code >= first && code < first + 9);
  return one === undefined ? "0" : String(code - one + 1);
}

/** Letters and digits in other clothes in their ASCII form. */
const inAscii = (text: string): string => text.replace(LOOKALIKE, (character) => character.normalize("NFKC")).replace(KEYCAP, "").replace(ENCLOSED, enclosedDigit).replace(FOREIGN_DIGIT, foreignDigit);

/** A label can lay an address bare beside it, as in `@13800138000x.com`: a text is gone through again until it stays, at most so often. */
const MAX_PASSES = 4;
const CLOSING = ".,;:!?)]";

/** @param read What the rule is looked up in, as long as the text. */
function applyRule(text: string, { pattern, tail, label }: Rule, read: string): string {
  let clean = "";
  let done = 0;
  pattern.lastIndex = 0;
  for (let match = pattern.exec(read); match; match = pattern.exec(read)) {
    const [found, ...groups] = match;
    const least = match.index + found.length;
    let end = least;
    if (tail) while (end < read.length && tail.test(read[end]!)) end++;
    while (end > least && CLOSING.includes(read[end - 1]!)) end--;
    clean += text.slice(done, match.index) + (typeof label === "string" ? label : (label(read.slice(match.index, end), groups) ?? text.slice(match.index, end)));
    done = end;
    pattern.lastIndex = end;
  }
  return clean + text.slice(done);
}

/**
 * A text without what leads to a person: addresses become `[url]` and `[mail]`, phone numbers `[phone]`, numbers of cards `[id]`, keys of services `[key]`, accounts of
 * messengers `[account]`, names after an at sign `[user]`, whatever the script of their digits and the marks between them. Years, scores,
 * episodes, likes and cheers stay. The rest is {@link safeText}, letters of other width and digits of other scripts in their ASCII form; nothing is cut, so
 * that no cut can hide a number. Linear in the length; names of people are not looked for.
 */
export function redact(text: string): string {
  let clean = inAscii(safeText(text));
  for (let pass = 0, before = ""; pass < MAX_PASSES && clean !== before; pass++) {
    before = clean;
    for (const each of ADDRESS_RULES) clean = applyRule(clean, each, clean);
    for (const each of NUMBER_RULES) {
      clean = applyRule(clean, each, clean);
      const read = inDigits(clean);
      if (read !== clean) clean = applyRule(clean, each, read);
    }
    clean = applyRule(clean, USER_RULE, clean);
  }
  return clean;
}
