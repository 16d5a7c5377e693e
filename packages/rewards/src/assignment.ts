/**
 * Exact assignment of least cost by shortest augmenting paths with potentials (Jonker and Volgenant 1987; Crouse 2016), O(rows² · columns).
 * The same matrix always gives the same assignment.
 *
 * @param cost    Row after row, `rows` × `columns`, finite.
 * @param rows    At most `columns`.
 * @returns       Column of each row, all different.
 */
export function assignRows(cost: Float64Array, rows: number, columns: number): Int32Array {
  const columnOf = new Int32Array(rows).fill(-1);
  const rowOf = new Int32Array(columns).fill(-1);
  const rowPotential = new Float64Array(rows);
  const columnPotential = new Float64Array(columns);
  const distance = new Float64Array(columns);
  const from = new Int32Array(columns);
  const open = new Int32Array(columns);
  for (let start = 0; start < rows; start++) {
    let left = columns;
    for (let column = 0; column < columns; column++) open[column] = column;
    distance.fill(Infinity);
    let row = start;
    let reached = 0;
    let end = -1;
    while (end < 0) {
      let least = Infinity;
      let place = -1;
      const offset = row * columns;
      const base = reached - rowPotential[row]!;
      for (let k = 0; k < left; k++) {
        const column = open[k]!;
        const length = base + cost[offset + column]! - columnPotential[column]!;
        if (length < distance[column]!) {
          distance[column] = length;
          from[column] = row;
        }
        // Among equal lengths a free column ends the path at once.
        if (distance[column]! < least || (distance[column] === least && rowOf[column]! < 0 && rowOf[open[place]!]! >= 0)) {
          least = distance[column]!;
          place = k;
        }
      }
      reached = least;
      const column = open[place]!;
      // Reached columns are kept behind `left`, in the order of their distance.
      open[place] = open[--left]!;
      open[left] = column;
      if (rowOf[column]! < 0) end = column;
      else row = rowOf[column]!;
    }
    rowPotential[start] = rowPotential[start]! + reached;
    for (let k = columns - 1; k > left; k--) {
      const column = open[k]!;
      const slack = reached - distance[column]!;
      columnPotential[column] = columnPotential[column]! - slack;
      rowPotential[rowOf[column]!] = rowPotential[rowOf[column]!]! + slack;
    }
    for (let column = end; ; ) {
      const owner = from[column]!;
      rowOf[column] = owner;
      const next = columnOf[owner]!;
      columnOf[owner] = column;
      if (owner === start) break;
      column = next;
    }
  }
  return columnOf;
}
