import type { Assessment, AssessmentReason } from "@dramascope/schema";
import { gallery, type ImageOptions } from "./blocks/image.ts";
import { columns, details, type Block } from "./blocks/layout.ts";
import { callout, keyValues, quotes } from "./blocks/text.ts";
import { drawing } from "./blocks/figure.ts";
import { label, stroke } from "./charts/axes.ts";
import { at, linearScale } from "./charts/scale.ts";
import { formatClock, formatNumber, formatPercent, formatSeconds } from "./format.ts";
import { html, type Html } from "./html.ts";
import type { Section } from "./page.ts";

/** What an assessment's section shows beside the record. */
export interface AssessmentSectionOptions {
  /** Heading. Default: the drama's id. */
  title?: string;
  /** Pictures of the frames that the model saw. */
  contactSheets?: readonly ImageOptions[];
}

const ACTIONS: Readonly<Record<Assessment["decision"]["action"], string>> = {
  procure: "Procure",
  price: "Negotiate the price",
  reject: "Reject",
  recommend: "Recommend",
  "human-review": "Human review",
};

function scoreScale({ score, interval }: Assessment): Html {
  const x = linearScale([1, 5], [24, 456]);
  const ticks = [1, 2, 3, 4, 5].map((value) => [stroke("grid", x(value), 22, x(value), 38), label("tick middle", x(value), 58, `${value}`)]);
  const band = interval && stroke("band", x(Math.max(1, interval[0])), 30, x(Math.min(5, interval[1])), 30);
  const marker = score !== null && html`<circle class="fill c0" cx="${at(x(score))}" cy="30" r="10"/>`;
  const ends = [label("tick", 12, 78, "weakest"), label("tick end", 468, 78, "strongest")];
  return drawing(480, 84, `Score ${formatNumber(score, 2)} on a scale from 1, weakest, to 5, strongest`, [stroke("track", 24, 30, 456, 30), band, ticks, marker, ends]);
}

function distributionBars({ distribution, quality }: Assessment): Html {
  if (!distribution) return html`<p class="no-data">no data</p>`;
  const shares = [distribution.p1, distribution.p2, distribution.p3, distribution.p4, distribution.p5];
  const height = linearScale([0, Math.max(...shares, 0.2)], [0, 96]);
  const bars = shares.map((share, i) => {
    const tall = Math.max(height(share), 1);
    const x = 20 + i * 90;
    const size = html`x="${x}" y="${at(124 - tall)}" width="72" height="${at(tall)}" rx="3"`;
    return html`<rect class="${quality === i + 1 ? "fill c0" : "pale"}" ${size}/>${label("value middle", x + 36, 116 - tall, formatPercent(share))}${label("tick middle", x + 36, 144, `${i + 1}`)}`;
  });
  return drawing(480, 152, `Share of each score: ${shares.map((share, i) => `${i + 1}: ${formatPercent(share)}`).join(", ")}`, [bars, stroke("axis", 12, 124.5, 460, 124.5)]);
}

function verdict(assessment: Assessment): Html {
  const { score, quality, interval, percentile, calibrationId, decision } = assessment;
  const facts = [
    interval ? `95 % interval ${formatNumber(interval[0], 2)} to ${formatNumber(interval[1], 2)}` : "no interval: not calibrated",
    quality === null ? null : `class ${quality}`,
    percentile === null ? null : `scores above ${formatNumber(percentile, 0)} % of the reference catalogue`,
    calibrationId === null ? null : `calibration ${calibrationId}`,
  ].filter((fact) => fact !== null);
  const badge = html`<div class="decision ${decision.action}"><small>Decision</small><strong>${ACTIONS[decision.action]}</strong><p>${decision.why}</p></div>`;
  if (score === null) {
    const text = assessment.status === "failed" ? "The drama could not be looked at; the warnings say why." : "The model's answer holds no readable score.";
    return html`<div class="verdict"><div>${callout({ kind: "warning", title: "No score", text })}</div><div>${badge}</div></div>`;
  }
  const number = html`<div class="score"><span class="score-value">${formatNumber(score, 2)}</span><span class="score-of">of 5, higher is better</span></div>`;
  const shares = html`<h3>How likely each score is</h3>${distributionBars(assessment)}`;
  return html`<div class="verdict"><div>${number}${scoreScale(assessment)}<p class="muted">${facts.join(" · ")}</p>${badge}</div><div>${shares}</div></div>`;
}

function placeOf({ episode, seconds }: AssessmentReason): Html | null {
  if (episode === null && seconds === null) return null;
  const parts = [episode === null ? null : `Episode ${episode}`, seconds === null ? null : formatClock(seconds)].filter((part) => part !== null);
  return html`<span class="place">${parts.join(" · ")}</span>`;
}

function reasonList(title: string, reasons: readonly AssessmentReason[]): Html {
  const items = reasons.map((reason) => html`<li class="${reason.kind}">${placeOf(reason)}${reason.text}</li>`);
  return html`<h3>${title}</h3>${items.length === 0 ? html`<p class="muted">none named</p>` : html`<ul class="reasons">${items}</ul>`}`;
}

function provenance({ model, adapter, promptHash, frames, timings }: Assessment): Html {
  const hashed = (part: { name: string; sha256: string | null }): string => (part.sha256 === null ? part.name : `${part.name} (sha256 ${part.sha256.slice(0, 12)})`);
  const spent = Object.entries(timings);
  const facts = keyValues([
    ["Model", hashed(model)],
    ["Adapter", adapter === null ? "none" : hashed(adapter)],
    ["Prompt", promptHash.slice(0, 12)],
    ["Frames", `${formatNumber(frames.frames)} of ${formatNumber(frames.episodes)} episodes, ${formatNumber(frames.tokens)} tokens, one every ${frames.strideSeconds} s, ${frames.clock} clock`],
  ]);
  return spent.length === 0 ? facts : columns([facts, keyValues(spent.map(([phase, seconds]): [string, string] => [`Time: ${phase}`, formatSeconds(seconds)]))]);
}

/** What Dramascope says of one drama, for buyers and editors: score, decision, reasons with places, expected comments, provenance. */
export function assessmentSection(assessment: Assessment, options: AssessmentSectionOptions = {}): Section {
  const { dramaId, caption, comments, reasons, warnings } = assessment;
  const of = (kind: AssessmentReason["kind"]): AssessmentReason[] => reasons.filter((reason) => reason.kind === kind);
  const remarks = of("remark");
  const blocks: Block[] = [verdict(assessment)];
  if (warnings.length > 0) blocks.push(callout({ kind: "warning", title: warnings.length === 1 ? "Warning" : "Warnings", text: warnings.length === 1 ? warnings[0]! : warnings }));
  if (caption !== null) blocks.push(html`<h3>Plot</h3><p class="plot">${caption}</p>`);
  if (reasons.length > 0) blocks.push(columns([reasonList("Strengths", of("strength")), reasonList("Weaknesses", of("weakness"))]));
  if (remarks.length > 0) blocks.push(reasonList("Overall", remarks));
  if (comments.length > 0) blocks.push(html`<h3>Comments to expect</h3>${quotes(comments)}`);
  if (options.contactSheets && options.contactSheets.length > 0) blocks.push(html`<h3>What the model saw</h3>${gallery(options.contactSheets)}`);
  blocks.push(details("Provenance", [provenance(assessment)]));
  const title = options.title ?? dramaId;
  return { title, ...(title.includes(dramaId) ? {} : { lead: dramaId }), blocks };
}
