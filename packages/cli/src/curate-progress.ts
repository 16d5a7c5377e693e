import type { CurationEvent, RunProgress } from "@dramascope/curation";
import type { OnProgress, Progress } from "@dramascope/schema";
import type { CommandContext } from "./context.ts";

/** A pause that people wonder about, in milliseconds. */
const LONG_PAUSE_MS = 5000;

/** A run's own figures. */
type Figures = Omit<RunProgress, "dramasDecided" | "dramas">;

const compact = (value: number): string => (value >= 1e6 ? `${(value / 1e6).toFixed(1)} M` : value >= 1e4 ? `${(value / 1e3).toFixed(0)} k` : String(value));

/** "40 done, 2 failed, 8 in flight · 0.53 USD · 5.2/s · 1.2 M tokens" */
function progressNote({ done, failed, blocked, parked, inFlight, perSecond, promptTokens, completionTokens, spent }: Figures, currency: string | null): string {
  const counts = [`${done} done`, `${failed} failed`, ...(blocked > 0 ? [`${blocked} refused`] : []), ...(parked > 0 ? [`${parked} parked`] : []), `${inFlight} in flight`];
  return [counts.join(", "), ...(currency === null ? [] : [`${spent.toFixed(2)} ${currency}`]), `${perSecond.toFixed(1)}/s`, `${compact(promptTokens + completionTokens)} tokens`].join(" · ");
}

/** What a run has to say, as progress or as a line for people. */
export function showEvents({ say, progress }: Pick<CommandContext, "say" | "progress">, currency: string | null): (event: CurationEvent) => void {
  return (event) => {
    if (event.type === "progress") {
      const { dramasDecided, dramas, ...figures } = event.progress;
      progress({ phase: "curate", done: dramasDecided, total: dramas, note: progressNote(event.progress, currency), figures });
    } else if (event.type === "imported") {
      const { dramas, splits, rejected, rejectedFile, withoutMedia } = event.report;
      say(`${dramas} dramas: SFT ${splits.sft}, GRPO ${splits.grpo}, evaluation ${splits.eval}${withoutMedia > 0 ? `; ${withoutMedia} without films, of which the teacher sees the text alone` : ""}`);
      if (rejected > 0) say(`${rejected} ${rejected === 1 ? "line is" : "lines are"} left out; ${rejectedFile ?? ""} says why`);
    } else if (event.type === "slow-down" && event.pauseMs >= LONG_PAUSE_MS) say(`the provider asks for a pause of ${Math.round(event.pauseMs / 1000)} s; then at most ${event.inFlight} calls at once`);
    else if (event.type === "model-differs") say(`asked for ${event.asked}, answered by ${event.returned}: both names stand in the records`);
  };
}

/** Progress of several workers on one ledger as that of one run: each counts what it has ended itself, and the ledger's money alike. */
export function joinProgress(report: OnProgress, currency: string | null): (worker: number, progress: Progress) => void {
  const workers = new Map<number, { first: number; last: Progress; figures: Figures }>();
  return (worker, progress) => {
    if (progress.figures === undefined) return;
    const figures = progress.figures as unknown as Figures;
    workers.set(worker, { first: workers.get(worker)?.first ?? progress.done, last: progress, figures });
    const all = [...workers.values()];
    const sum = (name: keyof Figures): number => all.reduce((total, one) => total + one.figures[name], 0);
    const joined: Figures = {
      ended: sum("ended"), done: sum("done"), failed: sum("failed"), blocked: sum("blocked"), parked: sum("parked"), inFlight: sum("inFlight"), perSecond: sum("perSecond"),
      promptTokens: sum("promptTokens"), completionTokens: sum("completionTokens"),
      spent: Math.max(...all.map((one) => one.figures.spent)),
    };
    const decided = Math.min(...all.map(({ first }) => first)) + all.reduce((total, { first, last }) => total + last.done - first, 0);
    const total = Math.max(...all.map(({ last }) => last.total ?? 0));
    report({ phase: "curate", done: Math.min(decided, total), total, note: progressNote(joined, currency), figures: { ...joined } });
  };
}
