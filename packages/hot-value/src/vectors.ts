import type { DuckDBDataChunk, DuckDBVector } from "@duckdb/node-api";

/** Buffer of a column of doubles; null places hold anything. */
export const doublesOf = (chunk: DuckDBDataChunk, column: number): Float64Array => (chunk.getColumnVector(column) as unknown as { items: Float64Array }).items;

/** Buffer of a column of 32-bit integers or of days since 1970-01-01. */
export const integersOf = (chunk: DuckDBDataChunk, column: number): Int32Array => (chunk.getColumnVector(column) as unknown as { items: Int32Array }).items;

/** Buffer of an output vector of days. */
export const daysOf = (vector: DuckDBVector): Int32Array => (vector as unknown as { items: Int32Array }).items;

/** Bytes of a vector of 128-bit integers, 16 a value, lowest first. */
export const wideOf = (vector: DuckDBVector): DataView => (vector as unknown as { dataView: DataView }).dataView;

/** Writes a buffer back to the database. */
export const flush = (vector: DuckDBVector): void => (vector as unknown as { flush(): void }).flush();
