import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { readJsonl, writeJsonl } from "@dramascope/schema";
import { parseGrpoConfig, REWARD_PARTS, reweightCompletions, type CompletionLine, type PartWeights, type Reweighting } from "@dramascope/trainer";
import { z } from "zod";
import { usageError } from "./context.ts";

const part = z.number().nullable();
const line = z.looseObject({
  step: z.int().min(1), id: z.string(), index: z.int().min(0), text: z.string(), length: z.int(), ended: z.boolean(),
  caption: part, comments: part, accuracy: part, format: part, total: part, reasons: z.array(z.string()), advantage: z.number(), version: z.string(), frames: z.string(),
}) satisfies z.ZodType<CompletionLine>;

/** `accuracy=0.7,format=0.05` over known weights. */
function parseWeights(text: string, known: PartWeights): PartWeights {
  const out = { ...known };
  for (const entry of text.split(",")) {
    const [name, value] = entry.split("=") as [string, string?];
    const found = REWARD_PARTS.find((one) => one === name.trim());
    if (found === undefined || value === undefined || !/^\d*\.?\d+$/u.test(value.trim())) throw usageError(`--weights wants parts such as accuracy=0.7,format=0.1, got ${JSON.stringify(entry)}`, `The parts are ${REWARD_PARTS.join(", ")}.`);
    out[found] = Number(value);
  }
  return out;
}

/** Settings of the run whose log it is, or the defaults where no run.json stands beside it. */
async function settingsBeside(completions: string): Promise<{ weights: PartWeights; advantages: { convention: "trl" | "paper"; std: "population" | "sample" } }> {
  const path = join(dirname(completions), "run.json");
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return '{"config":{}}';
    throw error;
  });
  const { config } = JSON.parse(text) as { config: object };
  const { rewardWeights, advantageConvention, advantageStd } = parseGrpoConfig({ ...config, runDir: dirname(completions) });
  return { weights: rewardWeights, advantages: { convention: advantageConvention, std: advantageStd } };
}

/** Weights before and after, and what they change. */
export interface ReweightResult extends Reweighting {
  before: PartWeights;
  after: PartWeights;
}

/** Recomputes the rewards of a run's completions under other weights; writes them where `out` is given. */
export async function reweightRewards(options: { completions: string; weights: string; out?: string | undefined }): Promise<ReweightResult> {
  const { weights: before, advantages } = await settingsBeside(options.completions);
  const after = parseWeights(options.weights, before);
  let result: Reweighting | undefined;
  const changed = async function* (): AsyncGenerator<CompletionLine> {
    result = yield* reweightCompletions(readJsonl(options.completions, line), { before, after, advantages });
  };
  if (options.out !== undefined) await writeJsonl(options.out, changed());
  else for await (const _one of changed());
  return { before, after, ...result! };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** The result as lines for people. */
export function describeReweighting({ before, after, ...result }: ReweightResult): string {
  const weights = (of: PartWeights): string => REWARD_PARTS.map((name) => `${name} ${of[name]}`).join(", ");
  const correlation = (value: number | null): string => (value === null ? "not defined: one side does not vary" : value.toFixed(4));
  return `${[
    `${result.completions} completions in ${result.groups} groups${result.unscored > 0 ? `, ${result.unscored} of them without a score` : ""}`,
    `before  ${weights(before)}`,
    `after   ${weights(after)}`,
    `correlation of totals: ${correlation(result.totalCorrelation)}, of advantages: ${correlation(result.advantageCorrelation)}`,
    result.bestChanges === null ? "no group had completions that differ" : `groups whose best completion would be another: ${percent(result.bestChanges)}`,
    `completions whose advantage would change its sign: ${percent(result.signChanges)}`,
    `groups without spread: ${percent(result.zeroSpread.before)} before, ${percent(result.zeroSpread.after)} after`,
  ].join("\n")}\n`;
}
