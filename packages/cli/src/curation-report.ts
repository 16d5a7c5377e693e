import { LEFT_OUT_REASONS, type ByClass, type Confusion, type CurationReport, type FunnelStage, type LeftOutReason, type ReportExample } from "@dramascope/curation";
import {
  barChart, callout, columns, confusionMatrix, details, formatNumber, formatPercent, funnelChart, heading, keyFigures, keyValues, paragraph, quotes, renderReport, table,
  type Block, type Cell, type Column, type Section,
} from "@dramascope/report";

const LABELS = ["1", "2", "3", "4", "5"];
/** Rounds with fewer dramas have no rate worth a bar. */
const MIN_RATE_DRAMAS = 5;
const CLASSES = LABELS.map((label) => `class ${label}`);
const RULES = "Rule 1: the teacher names the known class, which code checks. Rules 2 and 3, which the filter checks: reasons and class pull in one direction, and the reasons tell of what is in this drama.";
const STATES = ["planned", "leased", "done", "failed", "blocked", "parked"] as const;
const STEP_WORDS = { caption: "plot summary", sample: "chain of thought", filter: "filter", comments: "comments" } as const;
const STEPS = ["caption", "sample", "filter", "comments"] as const;
const WORDS_OF_STEP = new Map<string, string>(Object.entries(STEP_WORDS));
const VERDICT_WORDS = { valid: "accepted", mismatch: "another class", rejected: "not accepted by the filter", "no-verdict": "no verdict of the filter", unusable: "of no use", blocked: "refused" } as const;
const REASON_WORDS = new Map([["mismatch", "Another class than the known one (rule 1)"], ["rejected", "Not accepted by the filter (rules 2 and 3)"], ["no-verdict", "Without a verdict of the filter"], ["comment not kept", "Comments that were not kept"]]);

const right = (...titles: string[]): Column[] => titles.map((title) => ({ title, align: "right" }));
const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
const share = (part: number, whole: number): number | null => (whole === 0 ? null : part / whole);
const money = (value: number | null): string => formatNumber(value, value === null || value === 0 || value >= 100 ? 0 : value >= 1 ? 2 : 4);
const diagonal = (counts: Confusion): number => counts.reduce((total, row, i) => total + row[i]!, 0);
const total = (counts: Confusion): number => sum(counts.map(sum));

function stagesSection(title: string, lead: string, stages: readonly FunnelStage[]): Section {
  return {
    title,
    lead,
    blocks: [
      // Half as wide, so that a narrow screen shows bars and numbers as well.
      funnelChart({ size: "half", steps: stages.map(({ name, count, byClass }) => ({ label: name, count, parts: byClass })), parts: CLASSES }),
      details("By class, with the share of its dramas", [
        table({
          columns: ["Stage", ...right("all", ...CLASSES)],
          rows: stages.map(({ name, count, byClass }): Cell[] => [name, formatNumber(count), ...byClass.map((own, i) => (stages[0]!.byClass[i] === own ? formatNumber(own) : `${formatNumber(own)} (${formatPercent(share(own, stages[0]!.byClass[i]!))})`))]),
        }),
      ]),
    ],
  };
}

function overview(report: CurationReport): Section {
  const { dramas, sft, grpo, balance, cost, confusion, leftOut, isMoving, steps } = report;
  const open = sum(Object.values(steps).map(({ planned, leased, parked }) => planned + leased + parked));
  const exported = (stages: readonly FunnelStage[]): number => stages.find(({ name }) => name === "exported")!.count;
  const unit = cost.currency === null ? {} : { unit: cost.currency };
  const first = total(confusion.firstRound);
  return {
    title: "In short",
    blocks: [
      keyFigures([
        { label: "SFT records", value: sum(balance.after), note: `of ${formatNumber(sum(dramas.sft))} SFT dramas` },
        { label: "GRPO records", value: exported(grpo), note: `of ${formatNumber(sum(dramas.grpo))} GRPO dramas` },
        { label: "SFT dramas with a record", value: formatPercent(share(exported(sft), sum(dramas.sft)), 1), n: sum(dramas.sft) },
        { label: "Teacher right at first", value: formatPercent(share(diagonal(confusion.firstRound), first), 1), n: first, note: "round 1, readable answers" },
        { label: "Spent", value: money(cost.spent), ...unit, note: `${formatNumber(cost.spending.calls)} attempts` },
      ]),
      ...(isMoving ? [callout({ kind: "warning", text: "A run was going on while this was read: the figures are of no single moment." })] : []),
      ...(open > 0 ? [callout({ kind: "warning", text: `${formatNumber(open)} planned steps have no answer yet, of them ${formatNumber(sum(Object.values(steps).map(({ parked }) => parked)))} put aside after too many failures.` })] : []),
      table({ columns: ["Dramas", ...right("all", ...CLASSES)], rows: (["sft", "grpo", "eval"] as const).map((split): Cell[] => [{ sft: "SFT", grpo: "GRPO", eval: "evaluation" }[split], sum(dramas[split]), ...dramas[split]]), caption: "By split and known class" }),
      ...(Object.keys(leftOut).length > 0 ? [table({ columns: ["Not in a training set", ...right("number")], rows: Object.entries(leftOut).map(([reason, n]): Cell[] => [LEFT_OUT_REASONS[reason as LeftOutReason], n]) })] : []),
    ],
  };
}

function teacher({ confusion, rounds, verdicts, preflags }: CurationReport): Section {
  const matrix = (counts: Confusion, title: { title?: string } = {}): Block => confusionMatrix({ ...title, labels: LABELS, counts, rowTitle: "known class", columnTitle: "teacher's class", caption: `Right in ${formatPercent(share(diagonal(counts), total(counts)), 1)}, n = ${formatNumber(total(counts))} readable answers` });
  const rates = rounds.filter(({ n }) => n >= MIN_RATE_DRAMAS);
  return {
    title: "What the teacher said",
    lead: "The known class is never shown to the sampler. Later rounds are asked only where earlier ones gave nothing, so their dramas are the harder ones.",
    blocks: [
      matrix(confusion.firstRound, { title: "Classes in the first round" }),
      details("Classes in all rounds", [matrix(confusion.allRounds)]),
      rates.length > 0 ? barChart({ title: "Pass rate by round", caption: `Shares of the dramas that were sampled in the round${rates.length < rounds.length ? `; rounds of fewer than ${MIN_RATE_DRAMAS} dramas are in the table alone` : ""}`, series: ["known class named", "accepted"], bars: rates.map(({ round, n, agreed, valid }) => ({ label: `round ${round}`, n, value: [agreed / n, valid / n] })), range: [0, 1], format: (value) => formatPercent(value, 1) }) : "",
      table({
        columns: ["Round", ...right("sampled (n)", "readable", "known class", "accepted", "accepted of n")],
        rows: rounds.map((one): Cell[] => [formatNumber(one.round), one.n, one.readable, one.agreed, one.valid, formatPercent(share(one.valid, one.n), 1)]),
      }),
      barChart({ title: "How rounds ended", bars: Object.entries(verdicts).map(([verdict, value]) => ({ label: VERDICT_WORDS[verdict as keyof typeof VERDICT_WORDS], value })), caption: `n = ${formatNumber(sum(Object.values(verdicts)))} rounds` }),
      ...(preflags.length > 0 ? [table({ columns: ["Local remark", ...right("answers")], rows: preflags.map(({ rule, n }): Cell[] => [rule, n]), caption: "Found by code in readable answers; remarks decide nothing unless the settings say so" })] : []),
    ].filter((block) => block !== ""),
  };
}

/** Counts of rows that share their first cells, by step and all together; most frequent first. */
function bySteps(rows: readonly { cells: readonly string[]; kind: (typeof STEPS)[number]; n: number }[]): Cell[][] {
  const groups = Map.groupBy(rows, ({ cells }) => JSON.stringify(cells));
  const count = (own: typeof rows, kind?: (typeof STEPS)[number]): number => sum(own.map((one) => (kind === undefined || one.kind === kind ? one.n : 0)));
  return [...groups.values()].sort((a, b) => count(b) - count(a)).map((own) => [...own[0]!.cells, count(own), ...STEPS.map((kind) => count(own, kind))]);
}

function losses({ blocked, blockedByClass, unusable, steps }: CurationReport): Section {
  const blocks: Block[] = [];
  const stepColumns = right("all", ...STEPS.map((kind) => STEP_WORDS[kind]));
  if (blocked.length > 0) {
    blocks.push(
      table({ columns: ["Refused with", "Genre", ...stepColumns], rows: bySteps(blocked.map(({ code, genre, kind, n }) => ({ cells: [code, genre ?? "(none given)"], kind, n }))) }),
      table({ columns: ["Refusals", ...right("all", ...CLASSES)], rows: [["by known class", sum(blockedByClass), ...blockedByClass]] }),
    );
  } else blocks.push(paragraph("Nothing was refused."));
  blocks.push(unusable.length > 0 ? table({ columns: ["Of no use", ...stepColumns], rows: bySteps(unusable.map(({ code, kind, n }) => ({ cells: [code], kind, n }))) }) : paragraph("Every answer could be read."));
  blocks.push(table({ columns: ["Steps", ...right(...STATES, "all")], rows: Object.entries(steps).map(([kind, states]): Cell[] => [STEP_WORDS[kind as keyof typeof STEP_WORDS], ...STATES.map((state) => states[state]), sum(Object.values(states))]), caption: "As the ledger counts them" }));
  return { title: "Refused and of no use", lead: "A refusal is never asked again; an answer that cannot be read is never mended by guessing.", blocks };
}

function commentsSection({ comments }: CurationReport): Section {
  const { chosen, kept, dropped, unresolved, waiting } = comments;
  return {
    title: "Comments",
    blocks: [
      barChart({
        bars: [["kept", kept], ["dropped: not about the drama", dropped], ["dropped: without a label", unresolved], ["waiting", waiting]].map(([label, value]) => ({ label: label as string, value: value as number })),
        caption: `n = ${formatNumber(chosen)} comments were chosen, the most liked ones of each drama`,
      }),
    ],
  };
}

function moneySection({ cost, balance }: CurationReport): Section {
  const { spending, byClass } = cost;
  const unit = cost.currency ?? "no prices given";
  const kinds = Object.entries(spending.byKind).map(([kind, own]): Cell[] => [WORDS_OF_STEP.get(kind) ?? kind, own.calls, own.retries, money(own.cost)]);
  return {
    title: "Cost",
    lead: `Amounts in ${unit}. Attempts whose end is not known, after a crash or a time-out, are charged in full.`,
    blocks: [
      keyFigures([
        { label: "Spent", value: money(cost.spent) },
        { label: "Of it unknown", value: money(spending.unknown), note: "may have been paid" },
        { label: "For an SFT record", value: money(cost.perSftRecord), n: sum(balance.after) },
        { label: "Retries", value: cost.retries, note: `of ${formatNumber(spending.calls)} attempts` },
        { label: "Tokens in", value: spending.promptTokens, note: `and ${formatNumber(spending.completionTokens)} out` },
      ]),
      columns([
        [heading("By step"), table({ columns: ["Step", ...right("attempts", "retries", "cost")], rows: kinds })],
        [heading("By known class"), table({ columns: ["Class", ...right("cost", "SFT records", "for a record")], rows: byClass.map((own): Cell[] => [String(own.quality), money(own.cost), own.records, money(own.perRecord)]), caption: "Answers about SFT dramas in this generation" })],
      ]),
      table({ columns: ["Attempts by outcome", ...right("number")], rows: Object.entries(spending.byOutcome).map(([outcome, n]): Cell[] => [outcome, n]) }),
    ],
  };
}

function balanceSections({ balance }: CurationReport): Section[] {
  if (balance.mode === "none") return [];
  const bars = CLASSES.map((label, i) => ({ label, value: [balance.before[i]!, balance.after[i]!] }));
  const lead = balance.mode === "cap" ? "Large classes are cut, in the order of a hash." : "Nothing is cut: records of rare classes weigh more.";
  return [{ title: "Balance of classes", lead, blocks: [barChart({ series: ["before", "after"], bars, caption: "SFT records" })] }];
}

const reasonOf = (reason: string): string => REASON_WORDS.get(reason) ?? reason.replace(/^blocked /u, "Refused: ").replace(/^unusable /u, "Of no use: ");

const about = ({ dramaId, quality, round, predicted, remark }: ReportExample): string =>
  [`drama ${dramaId}`, `class ${quality}`, round > 0 ? `round ${round}` : "", predicted === null ? "" : `teacher said ${predicted}`, remark === null ? "" : `filter: ${remark}`].filter((text) => text !== "").join(" · ");

function exampleSections({ examples }: CurationReport, { disagreements }: PageFacts): Section[] {
  if (examples.length === 0) return [];
  const blocks = examples.map(({ reason, examples: own }) => details(`${reasonOf(reason)} (${own.length})`, [quotes(own.map((example) => ({ text: example.text ?? "(no text)", by: about(example) })))]));
  return [{ title: "Examples", lead: `Drawn by a seed, for each reason why something was dropped. ${disagreements === undefined ? "The whole list of answers that the class or the filter spoke against comes with --disagree" : `The whole list of answers that the class or the filter spoke against is in ${disagreements}`}.`, blocks }];
}

/** Classes that have SFT dramas and no record. */
const emptyClasses = (stages: readonly FunnelStage[]): string[] => {
  const [first, last] = [stages[0]!.byClass, stages.at(-1)!.byClass] as [ByClass, ByClass];
  return CLASSES.filter((_, i) => first[i]! > 0 && last[i] === 0);
};

/** What a page says beside the figures. */
export interface PageFacts {
  /** Where figures come from: names and values of versions, prompts, prices and seeds. */
  origin: readonly (readonly [name: string, value: string])[];
  /** File of the rounds in which teacher, class and filter disagree, where one was written. */
  disagreements?: string;
}

/** The report of a curation as one page; texts of the teacher and of viewers are shown as text, never as markup. */
export function curationPage(report: CurationReport, facts: PageFacts): string {
  const { runId, generation, model, sft, grpo } = report;
  const missing = emptyClasses(sft);
  const sftSection = stagesSection("SFT dramas", `How far the dramas come, by their known class; each stage counts those that passed all stages before it. ${RULES}`, sft);
  const warned = missing.length === 0 ? sftSection : { ...sftSection, blocks: [...sftSection.blocks, callout({ kind: "warning", text: `No SFT record of ${missing.join(", ")}.` })] };
  return renderReport({
    title: "Curation",
    subtitle: `Teacher ${model}, ${formatNumber(sft[0]!.count + grpo[0]!.count)} dramas asked about`,
    sections: [
      overview(report), warned, stagesSection("GRPO dramas", "They need a plot summary; comments are welcome.", grpo), teacher(report), losses(report), commentsSection(report), ...balanceSections(report), moneySection(report), ...exampleSections(report, facts),
      { title: "Origin", blocks: [keyValues([["run", runId], ["generation", String(generation)], ["teacher", model], ...facts.origin])] },
    ],
  });
}
