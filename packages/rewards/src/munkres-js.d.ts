declare module "munkres-js" {
  /** The Hungarian method: a rectangular cost matrix to pairs of least cost. */
  export default function munkres(cost: number[][]): [row: number, column: number][];
}
