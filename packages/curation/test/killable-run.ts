/** A curation that a test kills: `node killable-run.ts BASE_URL FOLDER`. */
import { join } from "node:path";
import { exportSets, openSqliteLedger, parseCurationConfig, runCuration } from "@dramascope/curation";
import { dramas, settings } from "./simulator.ts";

const [baseURL, folder] = process.argv.slice(2) as [string, string];
const config = parseCurationConfig(settings(baseURL));
const ledger = openSqliteLedger(join(folder, "ledger.db"));
await runCuration({ config, dramas: dramas(30), ledger });
await exportSets({ config, dramas: dramas(30), ledger }, join(folder, "export"));
ledger.close();
