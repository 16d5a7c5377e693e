/**
 * Benchmarks: ours and a peer in one sitting, taking turns.
 *
 *   npm run bench -- NAME|all [--json] [--quick] [--with-python] [--scale] [--rows N]
 */
import { parseArgs } from "node:util";
import { machine, type Bench } from "./result.ts";

const benches = new Map<string, () => Promise<Bench>>([
  ["rewards", async () => (await import("./rewards.ts")).bench],
  ["hot-value", async () => (await import("./hot-value.ts")).bench],
  ["evaluation", async () => (await import("./evaluation.ts")).bench],
  ["experiment", async () => (await import("./experiment.ts")).bench],
  ["model", async () => (await import("./model.ts")).bench],
  ["grpo", async () => (await import("./grpo.ts")).bench],
  ["compiled", async () => (await import("./compiled.ts")).bench],
  ["video", async () => (await import("./video.ts")).bench],
  ["curation", async () => (await import("./curation.ts")).bench],
  ["curation-workers", async () => (await import("./curation-workers.ts")).bench],
]);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean" }, quick: { type: "boolean" }, "with-python": { type: "boolean" }, scale: { type: "boolean" }, rows: { type: "string" } },
});
const names = positionals[0] === "all" ? [...benches.keys()] : positionals;
const rows = values.rows === undefined ? undefined : Number(values.rows);
if (names.length === 0 || names.some((name) => !benches.has(name)) || (rows !== undefined && !(Number.isSafeInteger(rows) && rows > 0))) {
  process.stderr.write(`usage: npm run bench -- ${[...benches.keys(), "all"].join("|")} [--json] [--quick] [--with-python] [--scale] [--rows N]\n`);
  process.exit(2);
}
const say = (text: string): void => void process.stderr.write(`${text}\n`);
for (const name of names) {
  const bench = await benches.get(name)!();
  const result = await bench({ isQuick: values.quick ?? false, withPython: values["with-python"] ?? false, isScaled: values.scale ?? false, rows, say });
  const { ratio, goal, met, ours, peer, unit, peerName } = result;
  say(`${name}: ours ${ours} ${unit}, ${peerName} ${peer ?? "not here"}; ratio ${ratio.toFixed(2)}; ${goal}: ${met ? "met" : "not met"}`);
  if (values.json) process.stdout.write(`${JSON.stringify({ ...result, machine: machine() })}\n`);
}
