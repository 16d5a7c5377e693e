import { sha256File, writeFileAtomically } from "@dramascope/schema";
import { join } from "node:path";
import { codeVersion } from "../code-version.ts";
import type { CurationConfig } from "../config.ts";
import type { Generation } from "../ledger/generation-types.ts";
import { runIdOf, templateName, type CurationSetting } from "./setting.ts";

/**
 * Writes `run.json` into the work folder: what the run is made of, as it is resolved. Seeds stand among the settings, keys and addresses of servers only as names of environment
 * variables. Workers of one run write the same.
 *
 * @param input The files that dramas were read from, for their hashes.
 */
export async function writeRunRecord(setting: CurationSetting, { generation, identity }: Pick<Generation, "generation" | "identity">, input: CurationConfig["input"]): Promise<void> {
  const { config, templates } = setting;
  const inputs = input && { dramas: await sha256File(input.dramas), labels: await sha256File(input.labels) };
  const record = {
    runId: runIdOf(setting),
    generation,
    identity,
    versions: { curation: codeVersion(), node: process.version },
    templates: Object.values(templates).map(templateName),
    settings: config,
    ...(inputs ? { inputs } : {}),
  };
  await writeFileAtomically(join(config.workdir, "run.json"), `${JSON.stringify(record, null, 2)}\n`);
}
