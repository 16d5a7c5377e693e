import { createHash } from "node:crypto";
import { assessmentSection, barChart, confusionMatrix, formatClock, formatNumber, formatPercent, formatSeconds, funnelChart, histogram, image, intervalPlot, keyFigures, lineChart, quotes, renderReport, ReportError, table } from "@dramascope/report";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nestingError, readTags } from "./markup.ts";
import { sampleAssessment, sampleReport } from "./sample.ts";

const ATTACKS = [
  "<script>alert(1)</script>",
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  "</title><script>alert(1)</script>",
  "</style><script>alert(1)</script>",
  "</svg><svg onload=alert(1)>",
  "<!-- --><!doctype x>",
  "]]><script>alert(1)</script>",
  "javascript:alert(1)",
  "<a href=https://example.org>x</a>",
  "&lt;script&gt;alert(1)&lt;/script&gt;",
  "\u202eevil\u2066\u0000\ud800",
  "${alert(1)}{{alert(1)}}",
  "`+alert(1)+`",
];
const ELEMENTS = new Set("html head meta link title style body header footer main nav section h1 h2 h3 p ol ul li a dl dt dd div span strong small q cite pre code table caption thead tbody tr th td figure figcaption img details summary svg g line path rect circle text".split(" "));

describe("a report", () => {
  it.each(ATTACKS)("shows %j as text in every field", (attack) => {
    const page = sampleReport((words) => `${words} ${attack}`);
    const tags = readTags(page);
    expect(nestingError(tags)).toBeNull();
    expect(tags.map((tag) => tag.name).filter((name) => !ELEMENTS.has(name))).toEqual([]);
    expect(tags.flatMap((tag) => [...tag.attributes.keys()]).filter((name) => name.startsWith("on") || name === "style")).toEqual([]);
    expect(page).not.toMatch(/[\u0000\u202a-\u202e\u2066-\u2069]|\p{Surrogate}/u);  
    const plain = readTags(sampleReport((words) => `${words} x`));
    expect(tags.map((tag) => tag.name)).toEqual(plain.map((tag) => tag.name));
  });

  it("asks for nothing outside and allows nothing but its own style and pictures", () => {
    const page = sampleReport();
    const tags = readTags(page);
    for (const { attributes } of tags) for (const name of ["src", "href", "srcset", "action", "data"]) expect(attributes.get(name) ?? "#").toMatch(/^(#|data:)/u);
    expect(page).not.toMatch(/https?:|@import|url\(|<script/u);
    const policy = tags.find((tag) => tag.attributes.get("http-equiv") === "Content-Security-Policy")!.attributes.get("content")!.replaceAll("&#39;", "'");
    const style = /<style>([\s\S]*?)<\/style>/u.exec(page)![1]!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain(`'sha256-${createHash("sha256").update(style).digest("base64")}'`);
    expect(page.indexOf("Content-Security-Policy")).toBeLessThan(page.indexOf("<style>"));
  });

  it("is the same for the same input, with text and no section too", () => {
    expect(sampleReport()).toBe(sampleReport());
    expect(nestingError(readTags(renderReport({ title: "Empty", sections: [] })))).toBeNull();
  });

  it("has colours that can be read, light and dark", () => {
    const style = /<style>([\s\S]*?)<\/style>/u.exec(renderReport({ title: "x", sections: [] }))![1]!;
    const [light, dark] = [...style.matchAll(/:root\{([^}]*)\}/gu)].map((match) => new Map([...match[1]!.matchAll(/--([\w-]+):(#[0-9a-f]{6})/gu)].map((one) => [one[1]!, one[2]!])));
    const luminance = (colour: string): number => {
      const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
    };
    for (const scheme of [light!, dark!]) {
      const contrast = (a: string, b: string): number => {
        const [low, high] = [luminance(scheme.get(a)!), luminance(scheme.get(b)!)].sort((x, y) => x - y);
        return (high! + 0.05) / (low! + 0.05);
      };
      const texts: [string, string][] = [["ink", "page"], ["ink", "card"], ["ink", "soft"], ["ink", "note-bg"], ["ink", "warn-bg"], ["muted", "page"], ["muted", "card"], ["muted", "soft"], ["muted", "note-bg"], ["muted", "warn-bg"], ["accent", "page"], ["accent", "note-bg"], ["warn", "warn-bg"], ["good", "card"], ["good", "good-bg"], ["bad", "card"], ["bad", "soft"]];
      for (const [text, ground] of texts) expect(contrast(text, ground), `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
      for (let i = 0; i < 6; i++) expect(contrast(`c${i}`, "card"), `c${i}`).toBeGreaterThanOrEqual(3);
    }
  });
});

describe("charts", () => {
  const nothing = [
    lineChart({ series: [] }),
    lineChart({ series: [{ name: "a", points: [] }] }),
    lineChart({ series: [{ name: "a", points: [[1, Number.NaN], [Number.NaN, 1], [2, Infinity]] }] }),
    barChart({ bars: [] }),
    barChart({ bars: [{ label: "a", value: null }] }),
    barChart({ bars: [{ label: "a", value: [] }] }),
    histogram({ values: [] }),
    histogram({ values: [Number.NaN, -Infinity] }),
    intervalPlot({ rows: [] }),
    intervalPlot({ rows: [{ label: "a", value: null, low: null, high: Number.NaN }] }),
    confusionMatrix({ labels: [], counts: [] }),
    confusionMatrix({ labels: ["a"], counts: [] }),
    confusionMatrix({ labels: ["a"], counts: [[Number.NaN]] }),
    funnelChart({ steps: [] }),
    funnelChart({ steps: [{ label: "a", count: 0 }] }),
    funnelChart({ steps: [{ label: "a", count: Number.NaN }] }),
    table({ columns: ["a"], rows: [] }),
    keyFigures([]),
    quotes([]),
  ];
  it.each(nothing.map(String))("say that there is no data: %s", (markup) => {
    expect(markup).toContain("no data");
  });

  const value = fc.oneof(fc.double(), fc.integer({ min: -5, max: 5 }), fc.constantFrom(Number.NaN, Infinity, -Infinity, 0, 1e-300, 1e300));
  const label = fc.string({ unit: "binary", maxLength: 30 });
  it("are whole markup without NaN for any numbers", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(label, value, value, value), { maxLength: 8 }), fc.constantFrom<"half" | "full">("half", "full"), (rows, size) => {
        const charts = [
          lineChart({ size, series: [{ name: "a", points: rows.map(([, x, y]) => [x, y]) }], smoothing: 0.5, marks: rows.map(([text, x]) => ({ x, label: text })) }),
          barChart({ size, bars: rows.map(([text, a, b]) => ({ label: text, value: [a, b] })) }),
          histogram({ size, values: rows.map(([, a]) => a) }),
          intervalPlot({ size, rows: rows.map(([text, a, b, c]) => ({ label: text, value: a, low: b, high: c })) }),
          funnelChart({ size, steps: rows.map(([text, a, b]) => ({ label: text, count: a, parts: [b] })) }),
          confusionMatrix({ labels: rows.map(([text]) => text), counts: rows.map(([, a, b]) => [a, b]) }),
        ].map(String);
        for (const chart of charts) {
          const tags = readTags(chart);
          expect(nestingError(tags)).toBeNull();
          const places = tags.flatMap((tag) => ["x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "d", "width", "height"].map((name) => tag.attributes.get(name) ?? "0"));
          expect(places.filter((place) => /NaN|Infinity|undefined/u.test(place))).toEqual([]);
        }
      }),
      { numRuns: 200 },
    );
  });

  it("draw a point, gaps and a smoothed line", () => {
    expect(String(lineChart({ series: [{ name: "a", points: [[1, 2]] }] }))).toContain("<circle");
    const gap = String(lineChart({ series: [{ name: "a", points: [[0, 1], [1, 2], [2, Number.NaN], [3, 1], [4, 2]] }] }));
    expect(/ d="(M[^"]*)"\/><\/svg><\/div>/u.exec(gap.replace(/<text[\s\S]*?<\/text>/gu, ""))![1]!.match(/M/gu)).toHaveLength(2);
    expect(String(lineChart({ series: [{ name: "a", points: [[0, 0], [1, 1]] }], smoothing: 0.5 }))).toContain("last mean 0.667");
    expect(String(lineChart({ series: [{ name: "long", points: Array.from({ length: 100_000 }, (_, i): [number, number] => [i, i % 7]) }] })).length).toBeLessThan(60_000);
  });

  it("carry their numbers", () => {
    expect(String(intervalPlot({ rows: [{ label: "GRPO", value: 0.412, low: 0.26, high: 0.5451, n: 1200 }] }))).toContain("0.412 [0.260, 0.545] · n = 1,200");
    expect(String(funnelChart({ steps: [{ label: "seen", count: 400 }, { label: "kept", count: 100 }] }))).toContain("100 · 25 % · −300");
    expect(String(confusionMatrix({ labels: ["1", "2"], counts: [[3, 1], [0, 4]] }))).toContain("3<small>75 %</small>");
    expect(String(histogram({ values: [1, 1, 2, Number.NaN] }))).toContain("n = 3, 1 without a value");
    const binned = String(histogram({ values: { from: 0, to: 4, counts: [3, 0, 5, 2] }, marks: [{ value: 2, label: "class 2" }, { value: 9, label: "outside" }] }));
    expect(binned).toContain("n = 10");
    expect(binned).toContain("<title>2 to 3: 5</title>");
    expect(binned).toContain("class 2");
    expect(binned).not.toContain("outside");
    expect(String(histogram({ values: { from: 1, to: 1, counts: [3] } }))).toContain("no data");
    expect(String(barChart({ bars: [{ label: "a", value: 0.5, n: 3 }] }))).toContain("a · n = 3");
  });
});

describe("an assessment's section", () => {
  const page = (change: Partial<ReturnType<typeof sampleAssessment>> = {}): string => renderReport({ title: "x", sections: [assessmentSection({ ...sampleAssessment((text) => text), ...change })] });

  it("shows score with direction, decision, reasons with places, comments and provenance", () => {
    const text = page();
    for (const part of ["3.84", "higher is better", "95 % interval 3.10 to 4.50", "scores above 81 %", "Procure", "3.84 is above 3.5.", "Episode 1 · 0:03", "Episode 2 · 1:05", "女主真美，666", "tiny-vl (sha256 abababababab)", "14,870 tokens", "31.7 s", "4 min 10 s", "45 %", "Episode 3 has no sound track."]) expect(text).toContain(part);
  });

  it("says so when there is no score", () => {
    expect(page({ status: "unreadable", score: null, distribution: null })).toContain("no readable score");
    expect(page({ status: "failed", score: null, distribution: null })).toContain("could not be looked at");
    expect(page({ interval: null, percentile: null, calibrationId: null })).toContain("not calibrated");
  });
});

describe("formats", () => {
  it.each<[number | null, string]>([[1234567, "1,234,567"], [0.41234, "0.412"], [12.345, "12.35"], [-0.0001, "−1.00e−4"], [1e-5, "1.00e−5"], [-3, "−3"], [null, "–"], [Number.NaN, "–"], [Infinity, "∞"], [0, "0"], [1e20, "1.00e20"], [1234.5, "1,235"]])("%s is %s", (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });

  it("writes shares, clocks and durations", () => {
    expect([formatPercent(0.256), formatPercent(0.256, 1), formatPercent(null)]).toEqual(["26 %", "25.6 %", "–"]);
    expect([formatClock(65.9), formatClock(0), formatClock(3600), formatClock(null)]).toEqual(["1:05", "0:00", "60:00", "–"]);
    expect([formatSeconds(0.25), formatSeconds(31.74), formatSeconds(250)]).toEqual(["250 ms", "31.7 s", "4 min 10 s"]);
    expect(formatNumber(-0.0001, 2)).toBe("0.00");
  });
});

it("refuses a picture of an unknown kind", () => {
  expect(() => image({ bytes: new TextEncoder().encode("<svg onload=alert(1)>"), alt: "" })).toThrow(ReportError);
});
