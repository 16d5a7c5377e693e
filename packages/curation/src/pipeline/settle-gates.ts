import type { Quality } from "@dramascope/schema";
import type { Gate } from "../ledger/generation-types.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import { replayDrama } from "./replay-drama.ts";
import type { CurationSetting } from "./setting.ts";

/** How a class stands between two rounds. */
interface ClassStanding {
  /** The round that dramas wait for; undefined when none waits. */
  waitsFor: number | undefined;
  /** Something else is still to be asked. */
  isBusy: boolean;
  /** By round. */
  cost: Map<number, number>;
  /** Dramas by the round of their first valid answer. */
  won: Map<number, number>;
}

const add = (sums: Map<number, number>, round: number, value: number): void => void sums.set(round, (sums.get(round) ?? 0) + value);

/**
 * Decides for every class whether its next round is worth its money: once the round before has ended for all of its dramas, by what that round cost for each drama that it won. From
 * the ledger alone, so that every worker decides the same; the ledger keeps the first word.
 *
 * @param ids Dramas that the run is about: nobody waits for the steps of others. Default all.
 * @returns Number of decisions; as long as it is not 0, there may be more to plan.
 */
export async function settleGates(setting: CurationSetting, ledger: StepLedger, generation: number, ids?: ReadonlySet<string>): Promise<number> {
  const { maxCostPerNewDrama } = setting.config.rounds;
  if (maxCostPerNewDrama === undefined) return 0;
  const gates = await ledger.gates(generation);
  const classes = new Map<Quality, ClassStanding>();
  for await (const { drama, answers } of ledger.answersByDrama(generation)) {
    if (drama.split === "eval") continue;
    const standing = classes.get(drama.quality) ?? { waitsFor: undefined, isBusy: false, cost: new Map<number, number>(), won: new Map<number, number>() };
    classes.set(drama.quality, standing);
    const { outcome, missing } = replayDrama(setting, drama, answers, gates);
    const isAsked = ids?.has(drama.dramaId) !== false;
    if (isAsked && missing.length > 0) standing.isBusy = true;
    if (isAsked && outcome.waitsForClass) standing.waitsFor = Math.min(standing.waitsFor ?? Infinity, outcome.rounds.length + 1);
    for (const { kind, round, cost } of answers) if (kind === "sample" || kind === "filter") add(standing.cost, round, cost);
    const first = outcome.valid[0];
    if (first) add(standing.won, first.round, 1);
  }
  const decided: Gate[] = [...classes].flatMap(([quality, { waitsFor: round, isBusy, cost: costs, won }]) => {
    if (round === undefined || isBusy) return [];
    const cost = costs.get(round - 1) ?? 0;
    const newDramas = won.get(round - 1) ?? 0;
    return [{ generation, quality, round, isOpen: cost <= maxCostPerNewDrama * newDramas, cost, newDramas }];
  });
  for (const gate of decided) await ledger.setGate(gate);
  return decided.length;
}
