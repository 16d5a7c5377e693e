import { STAGE_KINDS, type StageKind } from "@dramascope/curation";
import { nearestName } from "@dramascope/schema";
import type { Command } from "commander";
import { usageError } from "../context.ts";
import type { CurateFlags } from "../curate-project.ts";

/** Adds what every `curate` command takes. */
export function withProjectOptions(command: Command): Command {
  return command
    .option("--config <file>", "YAML with the curation's settings; dramascope init makes one", "dramascope.yaml")
    .option("--ledger <address>", "sqlite:FILE or postgres://…, instead of the settings' ledger")
    .option("--set <path=value...>", "one setting over the file's, such as rounds.max=4");
}

/** Words of the command line that give {@link withProjectOptions} back, for another process. */
export function projectWords({ config, ledger, maxCost, concurrency, set = [] }: CurateFlags): string[] {
  const named = Object.entries({ "--config": config, "--ledger": ledger, "--max-cost": maxCost, "--concurrency": concurrency });
  return [...named.flatMap(([name, value]) => (value === undefined ? [] : [name, value])), ...set.flatMap((one) => ["--set", one])];
}

/** Kinds of steps by their names, separated by commas. */
export function stageKinds(option: string, text: string): StageKind[] {
  return text.split(",").map((name) => {
    const kind = STAGE_KINDS.find((one) => one === name.trim());
    if (kind === undefined) throw usageError(`${option} wants kinds of steps, got ${JSON.stringify(name)}; did you mean ${nearestName(name, STAGE_KINDS)!}?`, `Kinds are ${STAGE_KINDS.join(", ")}, separated by commas.`);
    return kind;
  });
}
