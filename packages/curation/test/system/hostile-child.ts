/** Curates hostile comments and exports them: `node hostile-child.ts BASE_URL FOLDER`. Prints the hash of every exported file. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { curationReport, exportSets, openSqliteLedger, parseCurationConfig, runCuration } from "@dramascope/curation";
import { hostileDramas, hostileSettings } from "./hostile-dramas.ts";

const [baseURL, folder] = process.argv.slice(2) as [string, string];
const config = parseCurationConfig(hostileSettings(baseURL, folder, "keyed"));
const ledger = openSqliteLedger(join(folder, "ledger.db"));
await runCuration({ config, dramas: hostileDramas(3), ledger });
const dir = join(folder, "export");
await exportSets(ledger, config, dir);
await curationReport(ledger, config);
await ledger.close();
const names = (await readdir(dir)).sort();
console.log(JSON.stringify(Object.fromEntries(await Promise.all(names.map(async (name) => [name, createHash("sha256").update(await readFile(join(dir, name))).digest("hex")])))));
