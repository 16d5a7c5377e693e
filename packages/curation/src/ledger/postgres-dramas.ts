import type { Postgres } from "./postgres-connection.ts";
import { chunks, PAGE, pages } from "./postgres-pages.ts";
import { DRAMA_COLUMNS, dramaColumns, dramaOf, STEP_COLUMNS, type DramaColumns } from "./postgres-rows.ts";
import { checkNames, isStorable } from "./storable-text.ts";
import type { StepLedger } from "./step-ledger.ts";
import type { StepRow } from "./step-types.ts";

const DRAMAS_A_STATEMENT = 500;

/** What a ledger does with dramas, in a schema (quoted). */
export function dramaTable({ query, transaction }: Postgres, s: string): Pick<StepLedger, "putDramas" | "dramas" | "drama" | "answersByDrama" | "deleteDrama"> {
  const dramaPage = (after: DramaColumns | undefined): Promise<DramaColumns[]> =>
    query(`SELECT ${DRAMA_COLUMNS} FROM ${s}.dramas ${after ? "WHERE (ord, drama_id) > ($1, $2)" : ""} ORDER BY ord, drama_id LIMIT ${PAGE}`, after ? [after.ord, after.drama_id] : []);

  return {
    putDramas: async (rows) => {
      for (const { dramaId, order, contentHash, groupId } of rows) checkNames("the drama's", dramaId, order, contentHash, groupId);
      for (const chunk of chunks([...new Map(rows.map((row) => [row.dramaId, row])).values()], DRAMAS_A_STATEMENT))
        await transaction(async ({ query }) => {
          const columns = dramaColumns(chunk);
          const changed = await query<{ drama_id: string }>(
            `SELECT d.drama_id FROM ${s}.dramas d JOIN unnest($1::text[], $2::text[]) AS given (drama_id, content_hash) ON d.drama_id = given.drama_id
             WHERE d.content_hash <> given.content_hash ORDER BY d.drama_id FOR NO KEY UPDATE OF d`,
            [columns[0], columns[2]],
          );
          if (changed.length > 0) await query(`UPDATE ${s}.steps SET generation = 0 WHERE drama = ANY($1)`, [changed.map((row) => row.drama_id)]);
          await query(
            `INSERT INTO ${s}.dramas (${DRAMA_COLUMNS}) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::text[]) AS given (${DRAMA_COLUMNS}) ORDER BY drama_id
             ON CONFLICT (drama_id) DO UPDATE SET ord = excluded.ord, content_hash = excluded.content_hash, quality = excluded.quality, split = excluded.split, group_id = excluded.group_id, drama = excluded.drama
             WHERE (dramas.ord, dramas.content_hash, dramas.quality, dramas.split, dramas.group_id, dramas.drama)
               IS DISTINCT FROM (excluded.ord, excluded.content_hash, excluded.quality, excluded.split, excluded.group_id, excluded.drama)`,
            columns,
          );
        });
    },
    dramas: async function* () {
      for await (const page of pages(dramaPage)) yield* page.map(dramaOf);
    },
    drama: async (id) => {
      const rows = isStorable(id) ? await query<DramaColumns>(`SELECT ${DRAMA_COLUMNS} FROM ${s}.dramas WHERE drama_id = $1`, [id]) : [];
      return rows.map(dramaOf)[0];
    },

    answersByDrama: async function* (generation) {
      const read = async (after: { row: DramaColumns } | undefined): Promise<{ row: DramaColumns; answers: StepRow[] }[]> => {
        const rows = await dramaPage(after?.row);
        const steps = await query<StepRow>(`SELECT ${STEP_COLUMNS} FROM ${s}.steps WHERE drama = ANY($1) AND generation = $2 ORDER BY key`, [rows.map((row) => row.drama_id), generation]);
        const answers = Map.groupBy(steps, ({ drama }) => drama);
        return rows.map((row) => ({ row, answers: answers.get(row.drama_id) ?? [] }));
      };
      for await (const page of pages(read)) for (const { row, answers } of page) yield { drama: dramaOf(row), answers };
    },

    deleteDrama: async (id) => {
      if (!isStorable(id)) return 0;
      let deleted = 0;
      await transaction(async ({ query }) => {
        await query(`SELECT FROM ${s}.dramas WHERE drama_id = $1 FOR UPDATE`, [id]);
        deleted = Math.max(deleted, (await query(`DELETE FROM ${s}.steps WHERE drama = $1 RETURNING 1`, [id])).length);
        await query(`UPDATE ${s}.attempts SET drama = '' WHERE drama = $1`, [id]);
        await query(`DELETE FROM ${s}.dramas WHERE drama_id = $1`, [id]);
      });
      return deleted;
    },
  };
}
