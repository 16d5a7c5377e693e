import { estimate, STAGE_KINDS, type Estimate, type Range } from "@dramascope/curation";
import { DramascopeError } from "@dramascope/schema";
import type { Command } from "commander";
import { defineCommand, parseCount, type CliIo, type SetExitCode } from "../context.ts";
import { assertDramas, openCurateProject, type CurateFlags, type CurateProject } from "../curate-project.ts";
import { textTable } from "../text-table.ts";
import { stageKinds, withProjectOptions } from "./curate-options.ts";

interface PlanFlags extends CurateFlags {
  limit?: string;
  stages?: string;
}

const whole = (value: number): string => Math.round(value).toLocaleString("en");
const span = ({ low, expected, high }: Range, show: (value: number) => string): string[] => [show(low), show(expected), show(high)];

function planText({ dramas, stages, total, currency, budget, rejected, withoutMedia }: Estimate): string {
  const money = (value: number): string => value.toFixed(value < 1 ? 4 : 2);
  const head = ["", "calls low", "expected", "high", "tokens in", "out", ...(currency === null ? [] : [`${currency} low`, "expected", "high"])];
  const row = (name: string, { calls, promptTokens, completionTokens, cost }: Estimate["total"]): string[] => [name, ...span(calls, whole), whole(promptTokens.expected), whole(completionTokens.expected), ...(currency === null ? [] : span(cost, money))];
  const remarks = [
    `dramas: SFT ${dramas.sft}, GRPO ${dramas.grpo}, evaluation ${dramas.eval}`,
    ...(withoutMedia > 0 ? [`${withoutMedia} of them without films, of which the teacher sees the text alone`] : []),
    ...(rejected > 0 ? [`${rejected} ${rejected === 1 ? "line" : "lines"} will be left out; run lists them with their reasons`] : []),
  ];
  const ending = [
    ...(currency === null ? ["without teacher.prices money is neither counted nor limited"] : []),
    ...(budget !== null && budget < total.cost.expected ? [`the budget of ${money(budget)} ${currency ?? ""} will end the run before its time`] : []),
  ];
  return [...remarks, "", textTable([head, ...STAGE_KINDS.map((kind) => row(kind, stages[kind])), row("all", total)]), ...ending.map((line) => `${line}\n`)].join("\n").replace(/\n+$/u, "\n");
}

/** What a ledger holds is not asked again. */
async function openKnown({ openLedger }: CurateProject): Promise<Awaited<ReturnType<CurateProject["openLedger"]>> | undefined> {
  try {
    return await openLedger("read");
  } catch (error) {
    if (DramascopeError.isInstance(error) && error.code === "LEDGER_MISSING") return undefined;
    throw error;
  }
}

/** `dramascope curate plan` */
export function addCuratePlan(group: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<PlanFlags>(group, io, setExitCode, {
    name: "plan",
    summary: "calls, tokens and money that a run will take; asks nobody, writes nothing",
    example: "dramascope curate plan --limit 100",
    configure: (command) =>
      withProjectOptions(command)
        .option("--max-cost <amount>", "instead of the settings' budget.maxCost")
        .option("--limit <n>", "so many dramas")
        .option("--stages <kinds>", "only these kinds of steps: caption, sample, filter, comments"),
    run: async (context, options) => {
      const project = await openCurateProject(options, context);
      const limit = options.limit === undefined ? undefined : parseCount("--limit", options.limit);
      const stages = options.stages === undefined ? undefined : stageKinds("--stages", options.stages);
      const ledger = await openKnown(project);
      try {
        const plan = await estimate({ config: project.config, signal: context.signal, ...(ledger && { ledger }), ...(limit !== undefined && { limit }), ...(stages && { stages }) });
        assertDramas(project.config, { dramas: plan.dramas.sft + plan.dramas.grpo + plan.dramas.eval, rejected: plan.rejected });
        return { json: { ...plan }, text: planText(plan) };
      } finally {
        await ledger?.close();
      }
    },
  });
}
