/** A curation that a test stops or kills: `node killable-run.ts BASE_URL FOLDER COUNT`. Prints its summary; SIGINT stops it in order. */
import { join } from "node:path";
import { openSqliteLedger, parseCurationConfig, runCuration } from "@dramascope/curation";
import { dramas, settings } from "./simulator.ts";

const [baseURL, folder, count] = process.argv.slice(2) as [string, string, string];
const stop = new AbortController();
process.on("SIGINT", () => stop.abort());
const ledger = openSqliteLedger(join(folder, "ledger.db"));
const summary = await runCuration({ config: parseCurationConfig({ ...settings(baseURL), workdir: folder }), dramas: dramas(Number(count)), ledger, signal: stop.signal });
await ledger.close();
console.log(JSON.stringify(summary));
