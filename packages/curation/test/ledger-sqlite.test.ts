import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteLedger } from "@dramascope/curation";
import { describeLedger } from "./ledger-conformance.ts";

const folder = (): string => mkdtempSync(join(tmpdir(), "ledger-"));

describeLedger("SQLite", (options) => Promise.resolve(openSqliteLedger(join(folder(), "ledger.db"), options)));
