import { z } from "zod";
import { HttpProblem } from "./http-problem.ts";
import type { PoolScoreOptions, RewardItem } from "./pool.ts";
import type { RewardReference } from "./score.ts";
import type { PooledScore, RewardFault } from "./task.ts";

/** Items of one request. */
const MAX_ITEMS = 4096;

const label = z.union([z.string().max(256), z.number()]).nullish();

/** One item of `POST /v1/score`, and one line of a file of completions. What is wrong with its reference is found when it is scored. */
export const scoreItem = z.looseObject({
  /** Not empty; unique in a request. */
  id: z.string().min(1),
  completion: z.string(),
  /** Name of a shared reference, instead of the three fields below. */
  referenceKey: z.string().optional(),
  /** True class as "1" … "5" or integer. */
  solution: z.unknown().optional(),
  /** True plot summary. */
  caption: z.unknown().optional(),
  /** Real comments. */
  comments: z.unknown().optional(),
});
/** One item of `POST /v1/score`, and one line of a file of completions. */
export type ScoreItem = z.infer<typeof scoreItem>;

const scoreRequest = z.strictObject({
  runId: label,
  engine: label,
  step: label,
  rank: label,
  // Checked below: `z.record` passes over a key such as __proto__.
  references: z.custom<Record<string, unknown>>((value) => typeof value === "object" && value !== null && !Array.isArray(value), "expected an object").optional(),
  items: z.array(scoreItem).min(1).max(MAX_ITEMS),
  onError: z.enum(["null", "fail"]).default("null"),
  expectVersion: z.string().optional(),
  details: z.boolean().default(false),
});

/** A request that can be scored. */
export interface ScoreRequest {
  engine: string;
  step: number | null;
  ids: string[];
  items: RewardItem[];
  /** Faults of items whose shared reference is not there or whose solution is none; by place. */
  faults: Map<number, RewardFault>;
  onError: "null" | "fail";
  expectVersion: string | undefined;
  scoring: Required<Pick<PoolScoreOptions, "details">>;
}

const SOLUTIONS = ["1", "2", "3", "4", "5"];

/** A reference from the field names of the wire. Fields of the wrong kind go through: preparation names them. */
export function toReference({ solution, caption, comments }: { solution?: unknown; caption?: unknown; comments?: unknown }): RewardReference {
  const score = typeof solution === "string" && SOLUTIONS.includes(solution) ? Number(solution) : solution;
  return { score, caption, comments } as RewardReference;
}

function kindOf(solution: unknown): string {
  if (solution === undefined) return "missing";
  if (solution === null) return "null";
  if (typeof solution === "number") return String(solution);
  if (Array.isArray(solution)) return "an array";
  return typeof solution === "object" ? "an object" : `a ${typeof solution}`;
}

/**
 * The fault of a solution that is not 1 to 5; null for one that is. It names the kind of the value and no text. {@link RewardPool.score} knows the reference
 * alone and calls the field `score`: put this in its place where people wrote `solution`.
 */
export function solutionFault(solution: unknown): RewardFault | null {
  const { score } = toReference({ solution }) as { score: unknown };
  if (typeof score === "number" && Number.isInteger(score) && score >= 1 && score <= 5) return null;
  return { code: "REFERENCE_SCORE_INVALID", message: `the reference's solution is not 1 to 5: it is ${kindOf(solution)}` };
}

const invalid = (message: string): HttpProblem => new HttpProblem(400, "INVALID_REQUEST", message);

/** `items[3].completion: expected a string` */
function describe({ issues }: z.ZodError): string {
  const [first] = issues;
  const path = first!.path.map((step, i) => (typeof step === "number" ? `[${step}]` : `${i === 0 ? "" : "."}${String(step)}`)).join("");
  if (first!.code === "unrecognized_keys") return `unknown field ${JSON.stringify(first.keys[0]!.slice(0, 64))}`;
  return `${path === "" ? "body" : path}: ${first!.message}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid("the body is not JSON");
  }
}

const toWireReference = (fields: { solution?: unknown }): { reference: RewardReference; fault: RewardFault | null } => ({ reference: toReference(fields), fault: solutionFault(fields.solution) });

const noReference: RewardFault = { code: "REFERENCE_UNKNOWN", message: "the item's referenceKey names none of the request's references" };

/**
 * Reads the body of `POST /v1/score`.
 *
 * @throws HttpProblem 400 naming the first wrong field.
 */
export function parseScoreRequest(text: string): ScoreRequest {
  const value = parseJson(text);
  if (typeof value === "object" && value !== null && Object.hasOwn(value, "__proto__")) throw invalid('unknown field "__proto__"');
  const parsed = scoreRequest.safeParse(value);
  if (!parsed.success) throw invalid(describe(parsed.error));
  const { engine, step, references = {}, items, onError, expectVersion, details } = parsed.data;
  const shared = new Map(Object.entries(references).map(([key, reference]) => [key, toWireReference(typeof reference === "object" && reference !== null ? reference : {})]));
  const ids = items.map(({ id }) => id);
  const seen = new Set<string>();
  ids.forEach((id, place) => {
    if (seen.has(id)) throw invalid(`items[${place}].id: an earlier item has the same`);
    seen.add(id);
  });
  const faults = new Map<number, RewardFault>();
  const scored = items.map((item, place): RewardItem => {
    const { reference, fault } = (item.referenceKey === undefined ? toWireReference(item) : shared.get(item.referenceKey)) ?? { reference: toReference({}), fault: noReference };
    if (fault) faults.set(place, fault);
    return { completion: item.completion, reference };
  });
  return { engine: String(engine ?? "none"), step: typeof step === "number" ? step : null, ids, items: scored, faults, onError, expectVersion, scoring: { details } };
}

/** Body of the answer: one entry an item, in the order of the items. */
export function scoreReply(ids: readonly string[], scores: readonly PooledScore[], version: string): { version: string; items: object[] } {
  return {
    version,
    items: scores.map(({ format, accuracy, caption, comments, total, reasons, error, details }, i) => ({ id: ids[i], format, accuracy, caption, comments, total, reasons, error, ...(details ? { details } : {}) })),
  };
}
