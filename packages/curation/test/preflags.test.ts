import { preflags } from "@dramascope/curation";
import { describe, expect, it } from "vitest";

describe("local remarks", () => {
  const LONG = "开场的一记耳光在第一集0分07秒引出后面的误会，病房里的一场戏演得克制，第三集的信件又把线索收了回来，人物的动机前后一致，结尾留下一扇关着的门，让人想接着往下看。";

  it.each([
    ["weaknesses in Chinese against a 5", 5, "优点：耳光。 缺点：拖沓；重复；生硬；仓促", ["R2_SIGN_CONFLICT"]],
    ["points as lines of a list", 1, "Weaknesses:\n- slow\nStrengths:\n- a slap\n- a turn\n- an end", ["R2_SIGN_CONFLICT"]],
    ["strengths alone", 1, "Strengths: a; b; c; d", []],
    ["another score in Chinese", 4, "综合评分：3分", ["R2_OTHER_SCORE_NAMED"]],
    ["another score given in Chinese", 4, "我给这部剧打２分", ["R2_OTHER_SCORE_NAMED"]],
    ["the same score in Chinese", 4, "综合评分4分", []],
    ["another score of five", 4, "I would rate this drama as a solid 3/5.", ["R2_OTHER_SCORE_NAMED"]],
    ["a score of ten", 4, "Some rate it 3/10 or score 3 out of 10", []],
    ["a count that is no score", 4, "give it 2 more episodes and rate it 3.5 then", []],
    ["an episode in Chinese", 4, "第六集她回来了，第十二集又走了", ["R3_EPISODE_OUT_OF_RANGE"]],
    ["known episodes in Chinese", 4, "第一集到第 5 集，全80集", []],
    ["an abbreviated episode", 4, "as in ep. 7", ["R3_EPISODE_OUT_OF_RANGE"]],
    ["a time in Chinese after the end", 4, "9分59秒的吻", ["R3_TIME_BEYOND_END"]],
    ["a time with hours", 4, "at 1:00:00", ["R3_TIME_BEYOND_END"]],
    ["no time", 4, "a 16:9 picture, 3:2 in votes", []],
  ])("on %s", (_what, predicted, text, expected) => {
    expect(preflags({ think: `${LONG}${text}`, predicted, durationSeconds: 450 })).toEqual(expected);
  });

  it("do not check times when nobody knows how long the episodes are", () => {
    expect(preflags({ think: `${LONG} 99:59`, predicted: 3 })).toEqual([]);
  });

  it.each(["rate ", "score ", "give it ", "第", "Strengths:", "9", "1:", "episode ", "打"])("read 200 kB of %j in linear time", (piece) => {
    expect(preflags({ think: piece.repeat(Math.floor(200_000 / piece.length)), predicted: 3, durationSeconds: 1 })).not.toContain("R3_TOO_SHORT");
  });
});
