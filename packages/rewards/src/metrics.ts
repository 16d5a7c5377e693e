import { REFERENCE_WARNINGS } from "./score.ts";
import type { PooledScore } from "./task.ts";

const COMPONENTS = ["format", "accuracy", "caption", "comments"] as const;
/** Upper ends of the histogram's buckets, seconds. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** A foreign name becomes a label only if it looks like one, and only so many do. */
const ENGINE_NAME = /^[\w.-]{1,32}$/u;
const MAX_ENGINES = 16;

/** Figures of a reward server since it started. */
export interface RewardMetrics {
  /** Counts an answered request. */
  request(route: string, status: number): void;
  /** Counts a scored batch: the seconds it took, its results, and the labels of its request. */
  batch(seconds: number, scores: readonly PooledScore[], labels: { engine: string; step: number | null }): void;
  /** All figures in the text format of Prometheus, with gauges of the moment. */
  text(gauges: { version: string; ready: number; queued: number }): string;
}

const add = (counts: Map<string, number>, key: string, more: number): void => void counts.set(key, (counts.get(key) ?? 0) + more);

function family(name: string, type: "counter" | "gauge" | "histogram", help: string, samples: Iterable<readonly [labels: string, value: number]>): string {
  const lines = [`# HELP dramascope_rewards_${name} ${help}`, `# TYPE dramascope_rewards_${name} ${type}`];
  for (const [labels, value] of samples) lines.push(`dramascope_rewards_${name}${labels} ${value}`);
  return `${lines.join("\n")}\n`;
}

/** Starts counting. Labels are routes, statuses, reasons, warnings and a few engine names: never ids or text. */
export function createMetrics(): RewardMetrics {
  const requests = new Map<string, number>();
  const items = new Map<string, number>();
  const reasons = new Map<string, number>();
  const warnings = new Map<string, number>(REFERENCE_WARNINGS.map((name) => [`{warning="${name}"}`, 0]));
  const sums = new Map<string, number>(COMPONENTS.map((name) => [name, 0]));
  const counts = new Map<string, number>(COMPONENTS.map((name) => [name, 0]));
  const buckets = new Array<number>(BUCKETS.length + 1).fill(0);
  let totalSeconds = 0;
  let nullTotals = 0;
  let lastStep: number | null = null;

  const histogram = (): string => {
    let below = 0;
    const lines = BUCKETS.map((end, i) => `dramascope_rewards_request_seconds_bucket{le="${end}"} ${(below += buckets[i]!)}`);
    const all = below + buckets[BUCKETS.length]!;
    lines.push(`dramascope_rewards_request_seconds_bucket{le="+Inf"} ${all}`, `dramascope_rewards_request_seconds_sum ${totalSeconds}`, `dramascope_rewards_request_seconds_count ${all}`);
    return `${family("request_seconds", "histogram", "Seconds from the whole body to the answer of a scored request.", [])}${lines.join("\n")}\n`;
  };

  return {
    request: (route, status) => add(requests, `{route="${route}",status="${status}"}`, 1),
    batch: (seconds, scores, { engine, step }) => {
      const place = BUCKETS.findIndex((end) => seconds <= end);
      buckets[place < 0 ? BUCKETS.length : place]!++;
      totalSeconds += seconds;
      const named = `{engine="${engine}"}`;
      const isLabel = ENGINE_NAME.test(engine) && (items.has(named) || items.size < MAX_ENGINES);
      add(items, isLabel ? named : '{engine="other"}', scores.length);
      if (step !== null) lastStep = step;
      for (const score of scores) {
        if (score.total === null) nullTotals++;
        for (const reason of score.reasons) add(reasons, `{reason="${reason}"}`, 1);
        for (const warning of score.warnings ?? []) add(warnings, `{warning="${warning}"}`, 1);
        for (const name of COMPONENTS) {
          const value = score[name];
          if (value === null) continue;
          add(sums, name, value);
          add(counts, name, 1);
        }
      }
    },
    text: ({ version, ready, queued }) =>
      [
        family("info", "gauge", "Version of package and options.", [[`{version="${version}"}`, 1]]),
        family("requests_total", "counter", "Answered requests.", requests),
        family("items_total", "counter", "Items of scored requests.", items),
        histogram(),
        family("null_totals_total", "counter", "Items that could not be scored.", [["", nullTotals]]),
        family("component_mean", "gauge", "Mean of each reward over all items that have it.", COMPONENTS.map((name) => [`{component="${name}"}`, counts.get(name) === 0 ? Number.NaN : sums.get(name)! / counts.get(name)!] as const)),
        family("reasons_total", "counter", "Limits hit and causes of null.", reasons),
        family("reference_warnings_total", "counter", "Scored items whose reference carries the warning.", warnings),
        family("last_step", "gauge", "Step of the last request that named one.", lastStep === null ? [] : [["", lastStep]]),
        family("workers_ready", "gauge", "Worker threads that are up.", [["", ready]]),
        family("queued_items", "gauge", "Items that are being scored or wait for it.", [["", queued]]),
      ].join(""),
  };
}
