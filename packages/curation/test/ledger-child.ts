/** Writes a ledger in a process of its own and waits to be ended: one step done, two leased, an attempt of 1 settled and one of 4 on its way. */
import { openSqliteLedger } from "@dramascope/curation";
import { done, nothing, record, step } from "./ledger-steps.ts";

const ledger = openSqliteLedger(process.argv[2]!);
await ledger.openGeneration("first", null);
const ids = ["d0", "d1", "d2", "d3", "d4"];
await ledger.putDramas(ids.map((id) => record(id)));
await ledger.plan(ids.map((id) => step(id)), 1);
const [leased] = await ledger.lease({ owner: "w1", max: 3, ttlMs: 3_600_000, generation: 1 });
const { key, fence } = leased!.step;
const id = await ledger.reserve({ key, attempt: 1, task: "caption", drama: "d0", estimate: 2, at: 0 });
await ledger.settle(id!, { cost: 1, outcome: "ok", isUnknown: false, at: 1 });
await ledger.commit({ key, fence, owner: "w1", result: done("paid"), next: nothing });
await ledger.reserve({ key: "k", attempt: 1, task: "cot", drama: "d1", estimate: 4, at: 2 });
process.once("SIGTERM", () => void ledger.close().then(() => process.exit(0)));
process.send!({ committed: key });
