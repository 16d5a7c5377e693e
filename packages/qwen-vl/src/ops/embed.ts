import type { Ops } from "@dramascope/tensorflow";

/** Rows [n, hidden] of a table that stands in blocks of rows; `ids` int32 [n], each a row of the table: others are not noticed here, and `checkIds` refuses them before. */
export function embed<V>(ops: Ops<V>, blocks: readonly V[], ids: V): V {
  if (blocks.length === 1) return ops.gather(blocks[0]!, ids);
  // Ids are exact in float32, which every back end can clamp.
  const places = ops.cast(ids, "float32");
  const column = ops.reshape(places, [ops.shape(ids)[0]!, 1]);
  let first = 0;
  let out: V | undefined;
  for (const block of blocks) {
    const rows = ops.shape(block)[0]!;
    const inside = ops.minimum(ops.maximum(ops.sub(places, ops.scalar(first)), ops.scalar(0)), ops.scalar(rows - 1));
    const found = ops.gather(block, ops.cast(inside, "int32"));
    out = out === undefined ? found : ops.select(ops.less(column, ops.scalar(first)), out, found);
    first += rows;
  }
  return out!;
}
