import type { Quality, Split } from "@dramascope/schema";
import type { DramaRecord, StoredDrama } from "./drama-types.ts";
import type { Generation, Json } from "./generation-types.ts";
import type { StepSpec } from "./step-types.ts";

/** Columns of a step, named as in a `StepRow`. */
export const STEP_COLUMNS = `key, kind, drama, round, part, generation, state, content, code, finish, model, attempts, cost, fence,
  CASE WHEN state IN ('planned', 'parked') THEN NULL ELSE owner END AS owner,
  CASE WHEN state = 'leased' THEN (extract(epoch FROM ready_at) * 1000)::double precision END AS "leaseUntil", CASE WHEN state = 'parked' THEN parked_until END AS "parkedUntil"`;

/** Columns of a drama, in the order of {@link dramaColumns}. */
export const DRAMA_COLUMNS = "drama_id, ord, content_hash, quality, split, group_id, drama";

/** A drama as the table holds it. */
export interface DramaColumns {
  drama_id: string;
  ord: string;
  content_hash: string;
  quality: number;
  split: string;
  group_id: string;
  drama: string;
}

/** A drama as the ledger gives it. */
export const dramaOf = (row: DramaColumns): DramaRecord => ({
  dramaId: row.drama_id,
  order: row.ord,
  contentHash: row.content_hash,
  quality: row.quality as Quality,
  split: row.split as Split,
  groupId: row.group_id,
  drama: JSON.parse(row.drama) as StoredDrama,
});

/** Dramas column by column, as `unnest` takes them. JSON text escapes what a text column cannot hold. */
export const dramaColumns = (rows: readonly DramaRecord[]): unknown[] => [
  rows.map(({ dramaId }) => dramaId),
  rows.map(({ order }) => order),
  rows.map(({ contentHash }) => contentHash),
  rows.map(({ quality }) => quality),
  rows.map(({ split }) => split),
  rows.map(({ groupId }) => groupId),
  rows.map(({ drama }) => JSON.stringify(drama)),
];

/** Steps column by column, as `unnest` takes them. */
export const stepColumns = (steps: readonly StepSpec[]): unknown[] => [
  steps.map(({ key }) => key),
  steps.map(({ kind }) => kind),
  steps.map(({ drama }) => drama),
  steps.map(({ round }) => round),
  steps.map(({ part }) => part),
];

/** Columns of a generation. */
export const GENERATION_COLUMNS = "generation, identity, settings, started_at";

/** A generation as the table holds it. */
export interface GenerationColumns {
  generation: number;
  identity: string;
  settings: string;
  started_at: Date;
}

/** A generation as the ledger gives it. */
export const generationOf = (row: GenerationColumns): Generation => ({
  generation: row.generation,
  identity: row.identity,
  settings: JSON.parse(row.settings) as Json,
  startedAt: row.started_at.toISOString(),
});

/** Columns of a gate, named as in a `Gate`. */
export const GATE_COLUMNS = `generation, quality, round, is_open AS "isOpen", cost, new_dramas AS "newDramas"`;
