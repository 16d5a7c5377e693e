import { redact } from "@dramascope/curation";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

describe("what leads to a person goes", () => {
  it.each([
    // mobile phones
    ["我电话13800138000加我", "我电话[phone]加我"],
    ["138 0013 8000", "[phone]"],
    ["138-0013-8000", "[phone]"],
    ["138.0013.8000!", "[phone]!"],
    ["1 3 8 0 0 1 3 8 0 0 0", "[phone]"],
    ["138—0013—8000", "[phone]"],
    ["138（0013）8000", "[phone]"],
    ["１３８００１３８０００", "[phone]"],
    ["𝟏𝟑𝟖𝟎𝟎𝟏𝟑𝟖𝟎𝟎𝟎", "[phone]"],
    ["①③⑧00①③⑧000", "[phone]"],
    ["1️⃣3️⃣8️⃣0️⃣0️⃣1️⃣3️⃣8️⃣0️⃣0️⃣0️⃣", "[phone]"],
    ["138\u200b0013\u200b8000", "[phone]"],
    ["138\u202e0013\u00ad8000", "[phone]"],
    ["+86 138-0013-8000", "[phone]"],
    ["0086-13800138000", "[phone]"],
    ["8613800138000", "[phone]"],
    ["一三八零零一三八零零零", "[phone]"],
    ["幺三八〇〇幺三八〇〇〇打给我", "[phone]打给我"],
    ["a13800138000b", "a[phone]b"],
    // digits of other scripts, in other frames, in words, and letters for digits
    ["١٣٨٠٠١٣٨٠٠٠", "[phone]"],
    ["१३८००१३८०००", "[phone]"],
    ["๑๓๘๐๐๑๓๘๐๐๐ ۱۳۸۰۰۱۳۸۰۰۰", "[phone] [phone]"],
    ["❶❸❽⓿⓿❶❸❽⓿⓿⓿", "[phone]"],
    ["⑴⑶⑻00138000", "[phone]"],
    ["⒈⒊⒏🄌🄋➊➌➑⓪⓪⓪", "[phone]"],
    ["➀➂➇00⓵⓷⓼000", "[phone]"],
    ["壹叁捌零零壹叁捌零零零", "[phone]"],
    ["一三八 零零一三 八零零零", "[phone]"],
    ["1三8零零1三8零零0", "[phone]"],
    ["電話 捌參肆伍陸柒捌玖", "電話 捌參肆伍陸柒捌玖"],
    ["电话 捌參肆伍陸柒捌玖", "电话 [phone]"],
    ["13800138OOO", "[phone]"],
    ["call l38 OOl3 8OOO now", "call [phone] now"],
    ["I38ооI38ооо加我", "[phone]加我"],
    ["1З700138000", "[phone]"],
    ["138 0013 8000oo", "[phone]oo"],
    // anything between the groups
    ["138      0013      8000", "[phone]"],
    ["138,0013,8000", "[phone]"],
    ["138、0013、8000", "[phone]"],
    ["138:0013：8000", "[phone]"],
    ["138=0013=8000", "[phone]"],
    ["138'0013'8000", "[phone]"],
    ["138·0013·8000", "[phone]"],
    ["138❤️0013😂😂8000", "[phone]"],
    ["138;0013 + 8000", "[phone]"],
    ["1,3,8,0,0,1,3,8,0,0,0", "[phone]"],
    ["1👍🏽3👍🏽8👍🏽0👍🏽0👍🏽1👍🏽3👍🏽8👍🏽0👍🏽0👍🏽0", "[phone]"],
    ["13800138000,13900139000", "[phone],[phone]"],
    // keys of services
    ["use sk-canary-4711 for it", "use [key] for it"],
    ["sk-proj-Ab1_xyz0123456789", "[key]"],
    ["密钥sk-0123456789abcdef泄露了", "密钥[key]泄露了"],
    ["AKIAIOSFODNN7EXAMPLE", "[key]"],
    ["sk-abcdefghijklmnop", "[key]"],
    ["sk-proj-abcdefghijklmnop", "[key]"],
    ["Authorization: Bearer eyJhbGciOi.eyJzdWIiOi.SflKxw-RJ_", "Authorization: [key]"],
    ["eyJhbGciOiJIUzI1NiJ9.e30.abc==, see", "[key], see"],
    ["bearer 0123456789abcdef", "[key]"],
    // an address that shows behind a number
    ["@13800138000x.com", "@[phone][url]"],
    // other phones
    ["010-82345678", "[phone]"],
    ["（021）5888 8888", "[phone]"],
    ["0755 8345 6789", "[phone]"],
    ["400-820-8820", "[phone]"],
    ["4008208820", "[phone]"],
    ["+44 20 7946 0958", "[phone]"],
    ["+1 (415) 555-2671", "[phone]"],
    ["＋１ ４１５ ５５５ ２６７１", "[phone]"],
    ["415-555-2671", "[phone]"],
    ["电话 8345 6789", "电话 [phone]"],
    ["call me at 83456789", "call me at [phone]"],
    ["3216549870", "[phone]"],
    // cards
    ["身份证11010519491231002X", "身份证[id]"],
    ["110105 19491231 002x", "[id]"],
    ["110105-1949-1231-0021", "[id]"],
    ["１１０１０５１９４９１２３１００２Ｘ", "[id]"],
    ["110105491231002", "[id]"],
    ["6222 0212 3456 7890 123", "[id]"],
    ["6222021234567890", "[id]"],
    ["739000000000000137", "[id]"],
    // mail
    ["a.b+c@mail.example", "[mail]"],
    ["邮箱fan＠qq．com谢谢", "邮箱[mail]谢谢"],
    ["fan(at)qq.com", "[mail]"],
    ["fan【at】qq。com", "[mail]"],
    ["user at gmail dot com", "[mail]"],
    ["write to user.name at mail dot example dot org!", "write to [mail]!"],
    ["user at gmail.com", "[mail]"],
    ["user@gmail dot com", "[mail]"],
    ["see drama dot com", "see [url]"],
    ["a.very.long+tag@sub.mail.example.co.uk.", "[mail]."],
    // addresses
    ["看这里https://v.example.com/abc?x=1好看", "看这里[url]好看"],
    ["see https://x.example/?q=1, then go", "see [url], then go"],
    ["(http://x.example/a)", "([url])"],
    ["http：//x.example", "[url]"],
    ["ftp://files.example", "[url]"],
    ["www.some.site", "[url]"],
    ["Example.CN", "[url]"],
    ["sub.example.com:8080/a?b#c", "[url]"],
    ["t.cn/A6x", "[url]"],
    ["youtu.be/dQw4", "[url]"],
    ["短链b23.tv/abc123", "短链[url]"],
    ["abc点com", "[url]"],
    ["192.168.1.1:8080/x", "[url]"],
    // accounts and names
    ["微信号：drama_fan88", "[account]"],
    ["加微信 dramafan", "加[account]"],
    ["加我V：abc12345", "[account]"],
    ["vx abc12345", "[account]"],
    ["V信abc12345", "[account]"],
    ["ＶＸ：ａｂｃ１２３４５", "[account]"],
    ["扣扣1234567", "[account]"],
    ["QQ群：123456789", "[account]"],
    ["qq 12345 67890", "[account]"],
    ["q群 123456", "[account]"],
    ["Q123456 v：abc_12345", "[account] [account]"],
    ["q138 0013 8000a", "q[phone]a"],
    ["WeChat ID: some-name_1", "[account]"],
    ["telegram: some_name", "[account]"],
    ["抖音号 fan_12345", "[account]"],
    ["@小明 你看", "[user] 你看"],
    ["回复@user_1: hello", "回复[user]: hello"],
    ["＠someone!", "[user]!"],
    // several at once
    ["call 138-0013-8000 or a.b@mail.example, vx: abc_12345 @someone 11010519491231002X", "call [phone] or [mail], [account] [user] [id]"],
  ])("%j", (text, expected) => {
    expect(redact(text)).toBe(expected);
  });
});

describe("what does not stays", () => {
  it.each([
    "2023年最好看的剧",
    "2019-2020-2021-2022",
    "2019 2020 2021 2022",
    "Love it, 10/10 in episode 3!",
    "8.5分 4.5/5 满分10分",
    "第100集 比 第99集 好看",
    "第3季 S02E05 1-5集好看，6-10集一般",
    "666666 太好看了",
    "66666666666",
    "888888888888888888",
    "2333333333333",
    "520 1314 5201314",
    "52013145201314520",
    "点赞 1234567 次",
    "12,345,678 views, 1.2亿播放, 12万赞",
    "2023-08-15 20:00",
    "at 1:23:45 she cries, again at 0:07",
    "1080p 4K 60fps v2.0",
    "Q: terrible acting? A: yes",
    "best line: whatever you want",
    "微信里看到的推荐，微博热搜",
    "QQ music is better, wechat group was fun",
    "q then_what? version v 2",
    "He left.Then she cried. Mr.Wang, e.g. this",
    "so good.Top acting.Fun to watch.Live long",
    "episodes 15 16 17 18 19 20 21 22 23",
    "see you @ noon",
    "价格 ¥1999 - ¥2999",
    "+1 +1 +1",
    "110 120 10086",
    "3:2 逆转 12:30",
    "Top100 No.1 100% 1000%",
    "第一二三四五六七八九集",
    "一二三四五六七八九十，数到十",
    "一、二、三、五、六、七、八集好看",
    "二〇二三年 一九九八年",
    "六六六六六六六六六 二三三三三三三三三",
    "3,4,5,6,7,8,9 episodes",
    "1,3,5,7,9,11,13,15 are the best, 2、4、6、8、10、12 not",
    "0:04 0:10 1:20",
    "1:35 18:20, 1:38:00 - 1:38:13",
    "15:30 2023-08-15, 15/08/2023 18:00",
    "2023年8月15日 20:00",
    "139, 1999, 2019",
    "¥139 ¥1999 ¥2999, $150, $1400, $3000",
    "138% 1500% 2000%",
    "1,380,013,800 views, 13,800,138,000 views",
    "scores: 8,9,7,10,8,9,9,10,7,8,9",
    "9.5 8.0 7.5 9.0 8.5 6.0",
    "1:0 2:1 3:3 0:0 1:1",
    "Lol, I saw 10 of 100, oOo 00",
    "look at that dot in the sky, meet me at noon",
    "bearer of bad news, the bearer absolutely",
    "ask-me-anything sk-ii risk-free",
    "30 min, 45 min, 15 min 20 s",
    "[phone] [url] [user]",
    "😂😂😂 👨‍👩‍👧 ❤️",
    "！？……“好看”——～",
  ])("%j", (text) => {
    expect(redact(text)).toBe(text);
  });
});

describe("redaction", () => {
  it("finds a number wherever it stands in any text", () => {
    const words = fc.stringMatching(/^[a-z好看，。 !😀]{0,30}$/u);
    fc.assert(
      fc.property(words, words, fc.constantFrom("", " ", "-", "\u200b", "．", " - "), (before, after, gap) => {
        expect(redact(`${before}138${gap}0013${gap}8000${after}`)).not.toMatch(/138|0013|8000/u);
      }),
    );
  });

  it("changes nothing the second time", () => {
    const pieces = fc.constantFrom("13800138000", "@", "a.b", ".com", "qq", "微信", "：", "abc_1", " ", "http://", "/", "[phone]", "110105491231002", "x", "好", "+", "1");
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const once = redact(parts.join(""));
        expect(redact(once)).toBe(once);
      }),
      { numRuns: 500 },
    );
  });

  it.each(["1", "1 ", "13 ", "a", "a@", "a.", "http://", "微信", "qq:", "138-0013-", "(0", "+1", "一幺三", "6", "．", "😀", "\u200b", "@", "1,", "138,", "三O", "1O", "l", "a at ", "a dot ", "٣", "1😂", "bearer ", "sk-a-", "eyj"])("reads 1 MB of %j in linear time", (piece) => {
    expect(redact(piece.repeat(1_000_000 / piece.length)).length).toBeLessThan(4_000_000);
  });

  it("reads 10 MB, and finds a number at their end", () => {
    const text = `${"好看 so good 10/10 ".repeat(600_000)}13800138000`;
    expect(text.length).toBeGreaterThan(1e7);
    expect(redact(text).endsWith(" [phone]")).toBe(true);
  });
});
