import type { Ops } from "@dramascope/tensorflow";
import { attend, attendVjp, attentionProbabilities, causalBias, sequenced, sliceRows, softmaxPull } from "../ops/attention.ts";
import type { AttendedGradients, KeySource } from "../ops/attention.ts";
import { byHead, fromHeads, growingSum, joined, joinedHeads, partHeads, spans, sum } from "./heads.ts";
import type { HeadShape, Span } from "./heads.ts";

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
  /** Whether the prompts' rows are among the rows, or their keys and values are given and the rows are those of the completions alone. Default `computed`. */
  prefix?: "computed" | "given";
}

/** Number of rows of a layout. */
export function rowCount(layout: RowLayout): number {
  return layout.prompts * ((layout.prefix === "given" ? 0 : layout.promptRows) + layout.completions * layout.completionRows);
}

interface Piece<V> {
  queries: V;
  sources: KeySource<V>[];
  /** Computed again where they are many. */
  probabilities: V[] | undefined;
}

/** Rows of every prompt that go on after attention. */
function livePromptRows({ live, prefix, promptRows }: RowLayout): number {
  if (prefix === "given") return 0;
  return live === "last" ? 1 : promptRows;
}

/** Keys and values of prompts, or their gradients, [prompts·kvHeads, promptRows, d] each. */
export interface PrefixValues<V> {
  keys: V;
  values: V;
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

/** What {@link sharedPrefixAttention} reads. */
export interface AttentionValues<V> {
  /** [live rows, heads·d], rotated and scaled. */
  q: V;
  /** [rows, kvHeads·d], rotated. */
  k: V;
  /** [rows, kvHeads·d]. */
  v: V;
  /** [prompts, promptRows]: hides padding of the prompts from completions and live last rows. */
  prefixBias?: V | undefined;
  /** The prompts' keys and values where the layout says that they are given. */
  prefix?: PrefixValues<V> | undefined;
  /** The result [live rows, heads·d], when it is known and only the backward is wanted. */
  output?: V | undefined;
}

/** Result of {@link sharedPrefixAttention}. */
export interface SharedPrefixResult<V> {
  /** [live rows, heads·d]. */
  output: V;
  prefix: PrefixValues<V>;
  saved: SharedPrefixSaved<V>;
}

/** Exact attention over a layout. Scores exist for at most about `queryChunk` rows of one head. */
export function sharedPrefixAttention<V>(ops: Ops<V>, given: AttentionValues<V>, shape: HeadShape, layout: RowLayout, queryChunk: number): SharedPrefixResult<V> {
  const { prompts, promptRows, completions, completionRows } = layout;
  const { kvHeads, headDim: d } = shape;
  const { prefixBias, output } = given;
  const group = shape.heads / kvHeads;
  const g = prompts * kvHeads;
  const ownRows = completions * completionRows;
  const liveRows = livePromptRows(layout);
  const keyRows = given.prefix === undefined ? promptRows : 0;
  const [qp, qc] = partHeads(ops, given.q, prompts, liveRows, kvHeads);
  const [kp = given.prefix!.keys, kc] = partHeads(ops, given.k, prompts, keyRows, kvHeads);
  const [vp = given.prefix!.values, vc] = partHeads(ops, given.v, prompts, keyRows, kvHeads);
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
  const outputs: V[] = [];
  let last: V | undefined;
  /** A piece, and its output unless the whole is known. */
  const run = (queries: V, sources: KeySource<V>[]): { piece: Piece<V>; output: V | undefined } => {
    if (output !== undefined) return { piece: { queries, sources, probabilities: undefined }, output: undefined };
    const attended = attend(ops, keep ? queries : sequenced(ops, queries, last), sources);
    last = attended.output;
    return { piece: { queries, sources, probabilities: keep ? attended.probabilities : undefined }, output: attended.output };
  };

  const saved: SharedPrefixSaved<V> = { prompt: [], completion: [], promptSpans, completionSpans };
  if (qp !== undefined) {
    const [queryParts, keyParts, valueParts] = [ops.reshape(qp, [g, liveRows * group, d]), kp, vp].map((x) => byHead(ops, x, promptSpans)) as [V[], V[], V[]];
    const pieces = queryParts.map((queries, h) =>
      promptSpans.map(({ from, to }) =>
        run(sliceRows(ops, queries, from * group, to * group), [
          layout.live === "last"
            ? { keys: keyParts[h]!, values: valueParts[h]!, bias }
            : { keys: sliceRows(ops, keyParts[h]!, 0, to), values: sliceRows(ops, valueParts[h]!, 0, to), diagonal: diagonal(to - from) },
        ]),
      ),
    );
    saved.prompt = pieces.map((parts) => parts.map((p) => p.piece));
    if (output === undefined) outputs.push(fromHeads(ops, joinedHeads(ops, pieces.map((parts) => parts.map((p) => p.output!))), prompts, liveRows, kvHeads));
  }
  if (ownRows > 0) {
    const qcRows = ops.reshape(qc!, [g, completions, completionRows * group, d]);
    const kcRows = ops.reshape(kc!, [g, completions, completionRows, d]);
    const vcRows = ops.reshape(vc!, [g, completions, completionRows, d]);
    const parts: V[] = [];
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
      if (output === undefined) parts.push(ops.reshape(joined(ops, pieces.map((p) => p.output!), 1), [g, count, completionRows * group, d]));
    }
    if (output === undefined) outputs.push(fromHeads(ops, joined(ops, parts, 1), prompts, ownRows, kvHeads));
  }
  return { output: output ?? joined(ops, outputs, 0), prefix: { keys: kp, values: vp }, saved };
}

/** Gradients of {@link sharedPrefixAttention}. */
export interface SharedPrefixGradients<V> {
  q: V;
  k: V;
  v: V;
  /** Of keys and values that were given. */
  prefix?: PrefixValues<V>;
}

/**
 * Adjoint of {@link sharedPrefixAttention} for its result `output`: the prefix receives the sum over its completions, and `more`, what completions elsewhere add to it.
 */
export function sharedPrefixAttentionVjp<V>(
  ops: Ops<V>, saved: SharedPrefixSaved<V>, output: V, dOutput: V, shape: HeadShape, layout: RowLayout, more?: PrefixValues<V>,
): SharedPrefixGradients<V> {
  const { prompts, promptRows, completions, completionRows } = layout;
  const { kvHeads, headDim: d } = shape;
  const group = shape.heads / kvHeads;
  const g = prompts * kvHeads;
  const ownRows = completions * completionRows;
  const liveRows = livePromptRows(layout);
  const [dp, dc] = partHeads(ops, dOutput, prompts, liveRows, kvHeads);
  const rows = ops.shape(dOutput)[0]!;
  const byRow = (x: V): V => ops.reshape(x, [rows, shape.heads, d]);
  const [pullP, pullC] = partHeads(ops, ops.reshape(softmaxPull(ops, byRow(output), byRow(dOutput)), [rows, shape.heads]), prompts, liveRows, kvHeads);
  let last: V | undefined;
  const back = (piece: Piece<V>, pull: V, dPiece: V): AttendedGradients<V> => {
    const probabilities = piece.probabilities ?? attentionProbabilities(ops, sequenced(ops, piece.queries, last), piece.sources);
    const out = attendVjp(ops, piece.queries, piece.sources, probabilities, pull, dPiece);
    last = out.queries;
    return out;
  };

  const { keys, values } = { keys: [] as V[], values: [] as V[], ...(more && { keys: [more.keys], values: [more.values] }) };
  const queries: V[] = [];
  if (dp !== undefined) {
    const [dParts, pullParts] = [ops.reshape(dp, [g, liveRows * group, d]), ops.reshape(pullP!, [g, liveRows * group, 1])].map((x) => byHead(ops, x, saved.promptSpans)) as [V[], V[]];
    const parts = dParts.map((dRows, h) =>
      saved.prompt[h]!.map((piece, i) => {
        const { from, to } = saved.promptSpans[i]!;
        return back(piece, sliceRows(ops, pullParts[h]!, from * group, to * group), sliceRows(ops, dRows, from * group, to * group));
      }),
    );
    keys.push(joined(ops, parts.map((pieces) => growingSum(ops, pieces.map((p) => p.keys[0]!))), 0));
    values.push(joined(ops, parts.map((pieces) => growingSum(ops, pieces.map((p) => p.values[0]!))), 0));
    queries.push(fromHeads(ops, joinedHeads(ops, parts.map((pieces) => pieces.map((p) => p.queries))), prompts, liveRows, kvHeads));
  }
  const own: { k: V; v: V }[] = [];
  if (ownRows > 0) {
    const dcRows = ops.reshape(dc!, [g, completions, completionRows * group, d]);
    const pullRows = ops.reshape(pullC!, [g, completions, completionRows * group, 1]);
    const parts = saved.completion.map(({ first, count, pieces }) => {
      const outs = pieces.map((piece, i) => {
        const { from, to } = saved.completionSpans[i]!;
        const part = (x: V, width: number): V => ops.reshape(ops.slice(x, [0, first, from * group, 0], [g, count, (to - from) * group, width]), [g * count, (to - from) * group, width]);
        const out = back(piece, part(pullRows, 1), part(dcRows, d));
        keys.push(out.keys[0]!);
        values.push(out.values[0]!);
        return { q: out.queries, k: out.keys[1]!, v: out.values[1]! };
      });
      const shaped = (x: V, count2: number): V => ops.reshape(x, [g, count, count2, d]);
      return {
        q: shaped(joined(ops, outs.map((o) => o.q), 1), completionRows * group),
        k: shaped(growingSum(ops, outs.map((o) => o.k)), completionRows),
        v: shaped(growingSum(ops, outs.map((o) => o.v)), completionRows),
      };
    });
    const together = (all: V[]): V => fromHeads(ops, joined(ops, all, 1), prompts, ownRows, kvHeads);
    queries.push(together(parts.map((p) => p.q)));
    own.push({ k: together(parts.map((p) => p.k)), v: together(parts.map((p) => p.v)) });
  }
  const prefix = { keys: sum(ops, keys), values: sum(ops, values) };
  const q = joined(ops, queries, 0);
  if (layout.prefix === "given") return { q, k: own[0]!.k, v: own[0]!.v, prefix };
  const promptRowsOf = (x: V): V => fromHeads(ops, x, prompts, promptRows, kvHeads);
  return { q, k: joined(ops, [promptRowsOf(prefix.keys), ...own.map(({ k }) => k)], 0), v: joined(ops, [promptRowsOf(prefix.values), ...own.map(({ v }) => v)], 0) };
}

/** Completions attended together, so that one piece has about `chunk` rows. */
function completionGroups(layout: RowLayout, chunk: number): { first: number; count: number }[] {
  const size = Math.max(1, Math.floor(chunk / layout.completionRows));
  return spans(layout.completions, size).map(({ from, to }) => ({ first: from, count: to - from }));
}
