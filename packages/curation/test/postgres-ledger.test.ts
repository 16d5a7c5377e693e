import { afterAll, beforeAll } from "vitest";
import { openPostgresLedger } from "@dramascope/curation";
import { startPostgres, type PostgresServer } from "@dramascope/test-fixtures/postgres-server.ts";
import { describeLedger, type OpenLedger } from "./ledger-conformance.ts";
import { testAgainstModel } from "./ledger-model.ts";

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

let schemas = 0;
const open: OpenLedger = (options) => openPostgresLedger(server.url, { ...options, schema: `ledger_${++schemas}`, bossSchema: null });
describeLedger("Postgres", open);
testAgainstModel("Postgres", open, 12);
