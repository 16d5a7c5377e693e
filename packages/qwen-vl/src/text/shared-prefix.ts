import type { Ops } from "@dramascope/tensorflow";
import { attend, attendVjp, causalBias, sequenced, sliceRows } from "../ops/attention.ts";
import type { Attended, KeySource } from "../ops/attention.ts";

/**
 * Rows of one call: first `prompts` · `promptRows` prompt rows, then `prompts` · `completions` · `completionRows` completion rows.
 * Prompt rows see earlier rows of their prompt; completion rows see their whole prompt and their own earlier rows.
 */
export interface RowLayout {
  prompts: number;
  /** Rows of every prompt, padding at the end included. */
  promptRows: number;
  /** Completions of every prompt; 0 = prompts only. */
  completions: number;
  /** Rows of every completion, padding at the end included. */
  completionRows: number;
  /** Prompt rows that go on after attention: all, or of each prompt the last. All give keys and values. Default all. */
  live?: "all" | "last";
}

/** Heads of the decoder. */
export interface HeadShape {
  heads: number;
  kvHeads: number;
  headDim: number;
}

/** Number of rows of a layout. */
export function rowCount(layout: RowLayout): number {
  return layout.prompts * (layout.promptRows + layout.completions * layout.completionRows);
}

interface Piece<V> {
  queries: V;
  sources: KeySource<V>[];
  attended: Attended<V> | undefined;
}

interface Span {
  from: number;
  to: number;
}

/** Rows of every prompt that go on after attention. */
function livePromptRows({ live, promptRows }: RowLayout): number {
  return live === "last" ? 1 : promptRows;
}

/** Forward values that {@link sharedPrefixAttentionVjp} needs. */
export interface SharedPrefixSaved<V> {
  /** By head and span. */
  prompt: Piece<V>[][];
  completion: { first: number; count: number; pieces: Piece<V>[] }[];
  promptSpans: Span[];
  completionSpans: Span[];
}

/** Score elements up to which the backward keeps probabilities instead of computing them again. */
const KEEP_LIMIT = 2 ** 24;

/** Scores of one piece at about this many stay in the processor's caches, which every pass over them wants. */
const PIECE_ELEMENTS = 2 ** 20;
/** Rows below which products get slow. */
const LEAST_ROWS = 64;

/** Rows of one piece of `group` heads: at most `queryChunk`, fewer when their scores would be many. */
function pieceRows(promptRows: number, group: number, queryChunk: number): number {
  const fitting = 2 ** Math.floor(Math.log2(PIECE_ELEMENTS / (group * promptRows)));
  return Math.min(queryChunk, Math.max(LEAST_ROWS, fitting));
}

function spans(rows: number, chunk: number): Span[] {
  const out: Span[] = [];
  for (let from = 0; from < rows; from += chunk) out.push({ from, to: Math.min(rows, from + chunk) });
  return out;
}

/** [b·rows, n·w] -> [b·n, rows, w]: rows of all heads become rows of each head. */
export function toHeads<V>(ops: Ops<V>, x: V, batch: number, n: number): V {
  const rows = ops.shape(x)[0]! / batch;
  const width = ops.shape(x)[1]! / n;
  return ops.reshape(ops.transpose(ops.reshape(x, [batch, rows, n, width]), [0, 2, 1, 3]), [batch * n, rows, width]);
}

/** Inverse of {@link toHeads}. */
export function fromHeads<V>(ops: Ops<V>, x: V, batch: number, rows: number, n: number): V {
  const elements = ops.shape(x).reduce((a, b) => a * b, 1);
  const width = elements / (batch * rows * n);
  return ops.reshape(ops.transpose(ops.reshape(x, [batch, n, rows, width]), [0, 2, 1, 3]), [batch * rows, n * width]);
}

/** Result of {@link sharedPrefixAttention}. */
export interface SharedPrefixResult<V> {
  /** [rows, heads·d]. */
  output: V;
  /** Prompt keys [prompts·kvHeads, promptRows, d]. */
  keys: V;
  /** Prompt values, shaped as the keys. */
  values: V;
  saved: SharedPrefixSaved<V>;
}

/**
 * Exact attention over a layout. `q` [live rows, heads·d] is rotated and scaled, `k` [rows, kvHeads·d] rotated; `prefixBias`
 * [prompts, promptRows] hides padding of the prompts from completions and live last rows. Scores exist for at most about `queryChunk` rows of one head.
 */
export function sharedPrefixAttention<V>(
  ops: Ops<V>, q: V, k: V, v: V, prefixBias: V | undefined, shape: HeadShape, layout: RowLayout, queryChunk: number,
): SharedPrefixResult<V> {
  const { prompts, promptRows, completions, completionRows } = layout;
  const { kvHeads, headDim: d } = shape;
  const group = shape.heads / kvHeads;
  const g = prompts * kvHeads;
  const ownRows = completions * completionRows;
  const liveRows = livePromptRows(layout);
  const [qp, qc] = partHeads(ops, q, prompts, liveRows, kvHeads);
  const [kp, kc] = partHeads(ops, k, prompts, promptRows, kvHeads);
  const [vp, vc] = partHeads(ops, v, prompts, promptRows, kvHeads);
  const bias =
    prefixBias === undefined
      ? undefined
      : ops.reshape(ops.broadcastTo(ops.reshape(prefixBias, [prompts, 1, promptRows]), [prompts, kvHeads, promptRows]), [g, 1, promptRows]);

  const chunk = pieceRows(promptRows, group, queryChunk);
  const promptSpans = spans(liveRows, chunk);
  const completionSpans = spans(completionRows, chunk);
  const elements = g * group * (liveRows * promptRows + ownRows * (promptRows + completionRows));
  const keep = elements <= KEEP_LIMIT;
  const diagonals = new Map<number, V>();
  const diagonal = (rows: number): V => {
    const known = diagonals.get(rows) ?? causalBias(ops, rows, group);
    diagonals.set(rows, known);
    return known;
  };
  let last: V | undefined;
  const run = (queries: V, sources: KeySource<V>[]): { piece: Piece<V>; output: V } => {
    const attended = attend(ops, keep ? queries : sequenced(ops, queries, last), sources);
    last = attended.output;
    return { piece: { queries, sources, attended: keep ? attended : undefined }, output: attended.output };
  };

  const [queryParts, keyParts, valueParts] = [ops.reshape(qp, [g, liveRows * group, d]), kp, vp].map((x) => byHead(ops, x, promptSpans)) as [V[], V[], V[]];
  const promptPieces = queryParts.map((queries, h) =>
    promptSpans.map(({ from, to }) =>
      run(sliceRows(ops, queries, from * group, to * group), [
        layout.live === "last"
          ? { keys: keyParts[h]!, values: valueParts[h]!, bias }
          : { keys: sliceRows(ops, keyParts[h]!, 0, to), values: sliceRows(ops, valueParts[h]!, 0, to), diagonal: diagonal(to - from) },
      ]),
    ),
  );
  const promptOut = fromHeads(ops, joinedHeads(ops, promptPieces.map((pieces) => pieces.map((p) => p.output))), prompts, liveRows, kvHeads);
  const saved: SharedPrefixSaved<V> = { prompt: promptPieces.map((pieces) => pieces.map((p) => p.piece)), completion: [], promptSpans, completionSpans };
  if (ownRows === 0) return { output: promptOut, keys: kp, values: vp, saved };

  const qcRows = ops.reshape(qc!, [g, completions, completionRows * group, d]);
  const kcRows = ops.reshape(kc!, [g, completions, completionRows, d]);
  const vcRows = ops.reshape(vc!, [g, completions, completionRows, d]);
  const outputs: V[] = [];
  for (const { first, count } of completionGroups(layout, chunk)) {
    const own = (x: V, from: number, to: number): V =>
      ops.reshape(ops.slice(x, [0, first, from, 0], [g, count, to - from, d]), [g * count, to - from, d]);
    const pieces = completionSpans.map(({ from, to }) =>
      run(own(qcRows, from * group, to * group), [
        { keys: kp, values: vp, bias },
        { keys: own(kcRows, 0, to), values: own(vcRows, 0, to), diagonal: diagonal(to - from) },
      ]),
    );
    saved.completion.push({ first, count, pieces: pieces.map((p) => p.piece) });
    outputs.push(ops.reshape(joined(ops, pieces.map((p) => p.output), 1), [g, count, completionRows * group, d]));
  }
  const completionOut = fromHeads(ops, joined(ops, outputs, 1), prompts, ownRows, kvHeads);
  return { output: ops.concat([promptOut, completionOut], 0), keys: kp, values: vp, saved };
}

/** Adjoint of {@link sharedPrefixAttention} for q, k and v; the prefix receives the sum over its completions. */
export function sharedPrefixAttentionVjp<V>(
  ops: Ops<V>, saved: SharedPrefixSaved<V>, dOutput: V, shape: HeadShape, layout: RowLayout,
): { q: V; k: V; v: V } {
  const { prompts, promptRows, completions, completionRows } = layout;
  const { kvHeads, headDim: d } = shape;
  const group = shape.heads / kvHeads;
  const g = prompts * kvHeads;
  const ownRows = completions * completionRows;
  const liveRows = livePromptRows(layout);
  const [dp, dc] = partHeads(ops, dOutput, prompts, liveRows, kvHeads);
  let last: V | undefined;
  const back = (piece: Piece<V>, dPiece: V) => {
    const attended = piece.attended ?? attend(ops, sequenced(ops, piece.queries, last), piece.sources);
    const out = attendVjp(ops, piece.queries, piece.sources, attended, dPiece);
    last = out.queries;
    return out;
  };

  const dpRows = ops.reshape(dp, [g, liveRows * group, d]);
  const promptParts = byHead(ops, dpRows, saved.promptSpans).map((dRows, h) =>
    saved.prompt[h]!.map((piece, i) => {
      const { from, to } = saved.promptSpans[i]!;
      return back(piece, sliceRows(ops, dRows, from * group, to * group));
    }),
  );
  let dKeys = joined(ops, promptParts.map((parts) => growingSum(ops, parts.map((p) => p.keys[0]!))), 0);
  let dValues = joined(ops, promptParts.map((parts) => growingSum(ops, parts.map((p) => p.values[0]!))), 0);
  const dqPrompt = fromHeads(ops, joinedHeads(ops, promptParts.map((parts) => parts.map((p) => p.queries))), prompts, liveRows, kvHeads);
  const promptRowsOf = (x: V): V => fromHeads(ops, x, prompts, promptRows, kvHeads);
  if (ownRows === 0) return { q: dqPrompt, k: promptRowsOf(dKeys), v: promptRowsOf(dValues) };

  const dcRows = ops.reshape(dc!, [g, completions, completionRows * group, d]);
  const parts = saved.completion.map(({ first, count, pieces }) => {
    const outs = pieces.map((piece, i) => {
      const { from, to } = saved.completionSpans[i]!;
      const slice = ops.slice(dcRows, [0, first, from * group, 0], [g, count, (to - from) * group, d]);
      const out = back(piece, ops.reshape(slice, [g * count, (to - from) * group, d]));
      dKeys = ops.add(dKeys, out.keys[0]!);
      dValues = ops.add(dValues, out.values[0]!);
      return { q: out.queries, k: out.keys[1]!, v: out.values[1]! };
    });
    const shaped = (x: V, rows: number): V => ops.reshape(x, [g, count, rows, d]);
    return {
      q: shaped(joined(ops, outs.map((o) => o.q), 1), completionRows * group),
      k: shaped(growingSum(ops, outs.map((o) => o.k)), completionRows),
      v: shaped(growingSum(ops, outs.map((o) => o.v)), completionRows),
    };
  });
  const own = (values: V[]): V => fromHeads(ops, joined(ops, values, 1), prompts, ownRows, kvHeads);
  return {
    q: ops.concat([dqPrompt, own(parts.map((p) => p.q))], 0),
    k: ops.concat([promptRowsOf(dKeys), own(parts.map((p) => p.k))], 0),
    v: ops.concat([promptRowsOf(dValues), own(parts.map((p) => p.v))], 0),
  };
}

/** Completions attended together, so that one piece has about `chunk` rows. */
function completionGroups(layout: RowLayout, chunk: number): { first: number; count: number }[] {
  const size = Math.max(1, Math.floor(chunk / layout.completionRows));
  return spans(layout.completions, size).map(({ from, to }) => ({ first: from, count: to - from }));
}

function partHeads<V>(ops: Ops<V>, x: V, prompts: number, promptRows: number, n: number): [prompts: V, completions: V | undefined] {
  const rows = ops.shape(x)[0]!;
  const before = prompts * promptRows;
  if (rows === before) return [toHeads(ops, x, prompts, n), undefined];
  const [first, second] = ops.split(x, [before, rows - before], 0) as [V, V];
  return [toHeads(ops, first, prompts, n), toHeads(ops, second, prompts, n)];
}

/** [g, rows, d] in heads [1, rows, d] where it is cut into spans, for of one head a span is a view; else as it is. */
function byHead<V>(ops: Ops<V>, x: V, cuts: readonly Span[]): V[] {
  const g = ops.shape(x)[0]!;
  return cuts.length === 1 || g === 1 ? [x] : ops.split(x, new Array<number>(g).fill(1), 0);
}

/** Spans of heads put together to [g, rows, d]. */
function joinedHeads<V>(ops: Ops<V>, heads: readonly (readonly V[])[]): V {
  return joined(ops, heads.map((parts) => joined(ops, parts, 1)), 0);
}

function joined<V>(ops: Ops<V>, values: readonly V[], axis: number): V {
  return values.length === 1 ? values[0]! : ops.concat(values, axis);
}

/** Sum of [g, rows, d] with ever more rows; shorter ones end in zeros. */
function growingSum<V>(ops: Ops<V>, values: readonly V[]): V {
  return values.reduce((sum, next) => {
    const [before, rows] = [ops.shape(sum)[1]!, ops.shape(next)[1]!];
    return ops.add(before === rows ? sum : ops.pad(sum, [[0, 0], [0, rows - before], [0, 0]]), next);
  });
}
