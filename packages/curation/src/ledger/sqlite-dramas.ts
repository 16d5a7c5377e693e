import type { DatabaseSync } from "node:sqlite";
import { checkNames, isStorable } from "./storable-text.ts";
import type { DramaRecord, StoredDrama } from "./drama-types.ts";

const COLUMNS = "no, drama_id, ord, content_hash, quality, split, group_id, drama";

/** Values of {@link COLUMNS}: arrays take less time than objects. */
type Columns = [no: number, dramaId: string, order: string, contentHash: string, quality: number, split: string, groupId: string, drama: Uint8Array];

/** A drama and its number in the file. */
export interface NumberedDrama {
  no: number;
  record: DramaRecord;
}

/** Dramas of a ledger's file. */
export interface DramaTable {
  /** Number of a drama. */
  numberOf(id: string): number | undefined;
  idOf(no: number): string;
  get(no: number): DramaRecord;
  /** Writes inside a transaction. `changed`: its content is another than before. */
  put(record: DramaRecord): { no: number; isChanged: boolean };
  /** Dramas behind a place in their order. */
  page(after: { order: string; no: number }, max: number): NumberedDrama[];
  delete(no: number): void;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

const numbered = ([no, dramaId, order, contentHash, quality, split, groupId, drama]: Columns): NumberedDrama => ({
  no,
  record: { dramaId, order, contentHash, quality: quality as DramaRecord["quality"], split: split as DramaRecord["split"], groupId, drama: JSON.parse(decoder.decode(drama)) as StoredDrama },
});

/** Prepares access to the dramas. */
export function dramaTable(database: DatabaseSync): DramaTable {
  const numberOf = database.prepare("SELECT no, content_hash FROM dramas WHERE drama_id = ?");
  const idOf = database.prepare("SELECT drama_id AS id FROM dramas WHERE no = ?");
  const byNumber = database.prepare(`SELECT ${COLUMNS} FROM dramas WHERE no = ?`);
  byNumber.setReturnArrays(true);
  const upsert = database.prepare(`INSERT INTO dramas (drama_id, ord, content_hash, quality, split, group_id, drama) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (drama_id) DO UPDATE SET content_hash = excluded.content_hash, quality = excluded.quality, split = excluded.split, group_id = excluded.group_id, drama = excluded.drama
    WHERE (content_hash, quality, split, group_id, drama) IS NOT (excluded.content_hash, excluded.quality, excluded.split, excluded.group_id, excluded.drama)`);
  const page = database.prepare(`SELECT ${COLUMNS} FROM dramas WHERE (ord, no) > (?, ?) ORDER BY ord, no LIMIT ?`);
  page.setReturnArrays(true);
  const remove = database.prepare("DELETE FROM dramas WHERE no = ?");
  const find = (id: string): { no: number; content_hash: string } | undefined => (isStorable(id) ? (numberOf.get(id) as { no: number; content_hash: string } | undefined) : undefined);
  return {
    numberOf: (id) => find(id)?.no,
    idOf: (no) => (idOf.get(no) as { id: string }).id,
    get: (no) => numbered(byNumber.get(no) as unknown as Columns).record,
    put: ({ dramaId, order, contentHash, quality, split, groupId, drama }) => {
      checkNames("the drama's", dramaId, order, contentHash, groupId);
      const before = find(dramaId);
      const { lastInsertRowid } = upsert.run(dramaId, order, contentHash, quality, split, groupId, encoder.encode(JSON.stringify(drama)));
      return { no: before?.no ?? Number(lastInsertRowid), isChanged: before !== undefined && before.content_hash !== contentHash };
    },
    page: ({ order, no }, max) => (page.all(order, no, max) as unknown as Columns[]).map(numbered),
    delete: (no) => void remove.run(no),
  };
}
