import type { Assessment } from "@dramascope/schema";
import { assessmentSection, barChart, bulletList, callout, codeBlock, columns, confusionMatrix, details, funnelChart, gallery, heading, histogram, image, intervalPlot, keyFigures, keyValues, lineChart, paragraph, quotes, renderReport, table } from "@dramascope/report";

/** A PNG of one pixel. */
export const PIXEL = Uint8Array.from(Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==", "base64"));

/** An assessment whose texts all come from one function. */
export function sampleAssessment(text: (words: string) => string): Assessment {
  return {
    dramaId: text("d-90071992547409931"),
    status: "ok",
    score: 3.84,
    quality: 4,
    distribution: { p1: 0.02, p2: 0.08, p3: 0.22, p4: 0.45, p5: 0.23 },
    interval: [3.1, 4.5],
    percentile: 81,
    calibrationId: text("cal-1"),
    caption: text("A cleaner inherits the hotel. 当门打开时，她才说出自己的名字。"),
    comments: [text("女主真美，666"), text("great twist")],
    reasons: [
      { text: text("The opening clash hooks."), kind: "strength", episode: 1, seconds: 3 },
      { text: text("The lobby again."), kind: "weakness", episode: 2, seconds: 65.9 },
      { text: text("No sound was judged."), kind: "remark", episode: null, seconds: null },
    ],
    decision: { action: "procure", why: text("3.84 is above 3.5.") },
    model: { name: text("tiny-vl"), sha256: "ab".repeat(32) },
    adapter: { name: text("grpo-3"), sha256: null },
    promptHash: text("0123456789abcdef"),
    frames: { episodes: 5, frames: 120, tokens: 14870, strideSeconds: 4, clock: "continuous" },
    timings: { [text("generate")]: 31.7, frames: 0.2, total: 250 },
    warnings: [text("Episode 3 has no sound track.")],
  };
}

/** A report that uses every block, with all its texts from one function. */
export function sampleReport(text: (words: string) => string = (words) => words): string {
  const points = Array.from({ length: 300 }, (_, i): [number, number] => [i, i === 60 ? Number.NaN : Math.sin(i / 30)]);
  return renderReport({
    title: text("A report 报告"),
    subtitle: text("120 dramas"),
    footer: text("seed 7"),
    sections: [
      {
        title: text("Figures"),
        lead: text("What matters."),
        blocks: [
          text("A plain text."),
          keyFigures([{ label: text("PCC"), value: 0.412, unit: text("r"), interval: [0.26, 0.54], n: 120, note: text("held out"), tone: "good" }, { label: text("Time"), value: text("3:42") }, { label: "Nothing", value: null }]),
          table({ caption: text("All"), columns: [text("Model"), { title: text("PCC"), digits: 2 }], rows: [[text("base"), 0.03], [text("GRPO"), null], []], highlight: [1] }),
          keyValues([[text("Teacher"), text("t-1")], ["Calls", 1200], ["None", null]]),
          columns([[heading(text("Left")), text("A")], text("B")]),
          paragraph(text("One.\n\nTwo.")),
          bulletList([text("a"), "b"]),
          quotes([{ text: text("good"), by: text("3 likes") }, text("bad")]),
          codeBlock(text("dramascope demo")),
          callout({ kind: "warning", title: text("Careful"), text: text("Overlap.") }),
          callout({ text: [text("one"), "two"] }),
          details(text("More"), [text("inside")]),
        ],
      },
      {
        title: "Charts",
        blocks: [
          lineChart({ title: text("Reward"), caption: text("Mean."), xLabel: text("step"), yLabel: text("reward"), smoothing: 0.9, series: [{ name: text("total"), points }, { name: "empty", points: [] }], marks: [{ x: 100, label: text("epoch") }] }),
          columns([
            barChart({ title: text("Bars"), size: "half", series: [text("a"), "b"], bars: [{ label: text("Class 1"), value: [0.2, -0.1], n: 12 }, { label: "Class 2", value: [null, Number.NaN] }] }),
            histogram({ title: text("Scores"), size: "half", values: [1, 2, 2.5, 4.9, Number.NaN], xLabel: text("score") }),
          ]),
          intervalPlot({ title: text("PCC"), xLabel: text("PCC"), reference: { value: 0, label: text("chance") }, rows: [{ label: text("base"), value: 0.03, low: -0.1, high: 0.2, n: 120 }, { label: "none", value: null }] }),
          confusionMatrix({ title: text("Matrix"), labels: [text("1"), "2"], counts: [[3, 1], [0, 4]], rowTitle: text("true"), columnTitle: text("said") }),
          funnelChart({ title: text("Funnel"), parts: [text("class 1"), "class 2"], steps: [{ label: text("seen"), count: 10, parts: [6, 4] }, { label: "kept", count: 4, parts: [3, 1] }] }),
          image({ bytes: PIXEL, alt: text("a pixel"), caption: text("A pixel.") }),
          gallery([{ bytes: PIXEL, alt: text("another") }]),
        ],
      },
      assessmentSection(sampleAssessment(text), { title: text("The Cleaner"), contactSheets: [{ bytes: PIXEL, alt: text("sheet"), caption: text("Episode 1") }] }),
      assessmentSection({ ...sampleAssessment(text), status: "unreadable", score: null, quality: null, distribution: null, interval: null, percentile: null, caption: null, comments: [], reasons: [], timings: {}, warnings: [] }),
    ],
  });
}
