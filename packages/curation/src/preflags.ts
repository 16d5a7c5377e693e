/** What a local rule remarks about a chain of thought, by the rule it hints at, in this order. They decide nothing unless `filter.preflagsReject` says so. */
export const PREFLAGS = ["R2_SIGN_CONFLICT", "R2_OTHER_SCORE_NAMED", "R3_EPISODE_OUT_OF_RANGE", "R3_TIME_BEYOND_END", "R3_TOO_SHORT"] as const;
/** What a local rule remarks about a chain of thought. */
export type Preflag = (typeof PREFLAGS)[number];

/** What {@link preflags} looks at. */
export interface PreflagInput {
  think: string;
  /** Class that the answer names. */
  predicted: number;
  /** Seconds of all episodes together; without it times are not checked. */
  durationSeconds?: number;
}

/** Last episode that can be known. */
const EPISODES = 5;
/** Least width of a text that says something, in Latin characters. */
const MIN_WIDTH = 120;

const HEADING = /(strengths?|优点|优势|亮点)[ \t]*:|(weaknesses|weakness|缺点|不足|劣势)[ \t]*:/giu;

/** Points under the headings of strengths and of weaknesses, parted by semicolons or lines; null without both headings. */
function countPoints(think: string): { strengths: number; weaknesses: number } | null {
  const headings = [...think.matchAll(HEADING)];
  const count = (group: 1 | 2): number | null => {
    const own = headings.flatMap((heading, i) => (heading[group] === undefined ? [] : [think.slice(heading.index + heading[0].length, headings[i + 1]?.index)]));
    return own.length === 0 ? null : own.reduce((sum, text) => sum + text.split(/[;\n]/u).filter((point) => point.trim() !== "").length, 0);
  };
  const strengths = count(1);
  const weaknesses = count(2);
  return strengths === null || weaknesses === null ? null : { strengths, weaknesses };
}

/** Two points more on the side that the score speaks against. */
function isSignConflict(think: string, predicted: number): boolean {
  const points = countPoints(think);
  if (!points || predicted === 3) return false;
  const against = predicted > 3 ? points.weaknesses - points.strengths : points.strengths - points.weaknesses;
  return against >= 2;
}

/** A whole number 1 … 5 that is not part of a time, a fraction of something but 5, or a count. */
const SCORE = String.raw`([1-5])(?:\.0{1,3})?(?![\d.:%]{0,3}\d|/(?!5)|\s*(?:%|more|times?|minutes?|seconds?|hours?|episodes?|scenes?|out of (?!5)))`;
const NAMED_SCORES = [
  String.raw`\b(?:rat(?:e|ed|es|ing)|scor(?:e|ed|es|ing)|grade|give|award|deserves?)(?:[ :=-]{1,3}(?:it|this|the|drama|series|show|an?|is|of|as|at|would|be|final|overall|score|rating|only|solid|about)){0,6}[ :=-]{1,3}${SCORE}`,
  String.raw`(?:评分|打分|得分|分数)[是为了: ]{0,3}${SCORE}`,
  String.raw`[打给][^\d。;\n]{0,6}${SCORE}\s*分(?!钟)`,
].map((source) => new RegExp(source, "giu"));

const namesOtherScore = (think: string, predicted: number): boolean => NAMED_SCORES.some((pattern) => [...think.matchAll(pattern)].some((match) => Number(match[1]) !== predicted));

const EPISODE = /\b(?:episodes?|ep\.?)\s{0,3}#?(\d{1,9})|第\s{0,3}(\d{1,9}|[零〇一二三四五六七八九十百千两]{1,9})\s{0,3}集/giu;
const CHINESE_NUMBERS = ["一", "二", "三", "四", "五"];

function namesUnknownEpisode(think: string): boolean {
  return [...think.matchAll(EPISODE)].some(([, english, chinese = ""]) => {
    const known = CHINESE_NUMBERS.indexOf(chinese === "两" ? "二" : chinese) + 1;
    const episode = known > 0 ? known : Number(english ?? (/^\d/u.test(chinese) ? chinese : 0));
    return episode < 1 || episode > EPISODES;
  });
}

const TIME = /(?<![\d:])(?:(\d{1,2}):)?(\d{1,3}):([0-5]\d)(?![\d:])|(?<!\d)(\d{1,3})分([0-5]?\d)秒/gu;

function namesTimeAfter(think: string, durationSeconds: number): boolean {
  return [...think.matchAll(TIME)].some(([, hours = "0", minutes, seconds, chineseMinutes, chineseSeconds]) => {
    const time = Number(hours) * 3600 + Number(minutes ?? chineseMinutes) * 60 + Number(seconds ?? chineseSeconds);
    return time > durationSeconds;
  });
}

/** Width of a text in Latin characters: ideographs, kana and hangul count twice. */
const widthOf = (text: string): number => text.length + (text.match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/gu)?.length ?? 0);

/**
 * Local remarks on a chain of thought, in English or Chinese; free, and no verdict.
 *
 * - `R2_SIGN_CONFLICT`: under the headings of strengths and weaknesses the side that speaks against the score has at least two points more;
 *   never for a 3 and never without both headings.
 * - `R2_OTHER_SCORE_NAMED`: the text names another score than the answer.
 * - `R3_EPISODE_OUT_OF_RANGE`: it names an episode outside 1 … 5.
 * - `R3_TIME_BEYOND_END`: it names a time after the end of the episodes.
 * - `R3_TOO_SHORT`: it is narrower than 120 Latin characters; an ideograph counts as two.
 */
export function preflags({ think, predicted, durationSeconds }: PreflagInput): Preflag[] {
  const text = think.normalize("NFKC");
  const remarks: Readonly<Record<Preflag, boolean>> = {
    R2_SIGN_CONFLICT: isSignConflict(text, predicted),
    R2_OTHER_SCORE_NAMED: namesOtherScore(text, predicted),
    R3_EPISODE_OUT_OF_RANGE: namesUnknownEpisode(text),
    R3_TIME_BEYOND_END: durationSeconds !== undefined && namesTimeAfter(text, durationSeconds),
    R3_TOO_SHORT: widthOf(text.trim()) < MIN_WIDTH,
  };
  return PREFLAGS.filter((flag) => remarks[flag]);
}
