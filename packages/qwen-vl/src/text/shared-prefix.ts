import type { Ops } from "@dramascope/tensorflow";
import { attend, attendVjp, attentionProbabilities, bandBias, sequenced, sliceRows, softmaxPull, withBias } from "../ops/attention.ts";
import type { AttendedGradients, Band, KeySource } from "../ops/attention.ts";
import { apart, fromHeads, growingSum, joined, partHeads, rowsFirst, spans, sum } from "./heads.ts";
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

/** Query rows [g, m, d] and what they see. */
interface Piece<V> {
  queries: V;
  /** Made anew for every use, not before `after` is: keys and values of many pieces together are far larger than the prompt's. */
  source: (after: V | undefined) => KeySource<V>;
  /** Computed again where they are many. */
  probabilities: V | undefined;
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

/** Forward values that {@link sharedPrefixAttentionVjp} needs, by group of heads. */
export interface SharedPrefixSaved<V> {
  /** By span. */
  prompt: Piece<V>[][];
  /** By group of completions and span. */
  completion: Piece<V>[][][];
  cuts: Cuts;
}

/** Score elements up to which the backward keeps probabilities instead of computing them again. */
const KEEP_LIMIT = 2 ** 24;

/** Scores of one piece at about this many stay in the processor's caches, which every pass over them wants. */
const PIECE_ELEMENTS = 2 ** 20;
/** Rows below which products get slow. */
const LEAST_ROWS = 64;

/** How attention is cut into pieces. */
interface Cuts {
  /** Whether every head has pieces of its own, or all have them together. */
  byHead: boolean;
  /** Live rows of a prompt. */
  prompt: Span[];
  /** Rows of a completion. */
  completion: Span[];
  /** Completions that are attended together; each sees the rows of the others masked. */
  groups: Span[];
}

/** Completions together have at most this share of their prompt's rows, for masked scores are work for nothing. */
const OWN_SHARE = 0.25;

function cutsOf(layout: RowLayout, { heads, kvHeads }: HeadShape, queryChunk: number): Cuts {
  const { prompts, promptRows, completions, completionRows } = layout;
  const group = heads / kvHeads;
  const fitting = 2 ** Math.floor(Math.log2(PIECE_ELEMENTS / (group * promptRows)));
  const chunk = Math.min(queryChunk, Math.max(LEAST_ROWS, fitting));
  const together = Math.max(1, Math.floor(Math.min(chunk, OWN_SHARE * promptRows) / completionRows));
  const largest = Math.min(chunk, Math.max(livePromptRows(layout), Math.min(together, completions) * completionRows)) * group * promptRows;
  return {
    byHead: prompts * kvHeads * largest > PIECE_ELEMENTS,
    prompt: spans(livePromptRows(layout), chunk), completion: spans(completionRows, chunk), groups: spans(completions, together),
  };
}

/** Columns that the query rows of a group of completions see of these completions' own `to` keys each. */
function ownBands(count: number, { from, to }: Span, group: number): Band[] {
  return Array.from({ length: count * (to - from) * group }, (_, row) => {
    const position = Math.floor(row / group);
    const first = Math.floor(position / (to - from)) * to;
    return { first, last: first + from + (position % (to - from)) };
  });
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
  const cuts = cutsOf(layout, shape, queryChunk);
  const heads = cuts.byHead ? g : 1;
  const [keyParts, valueParts] = [apart(ops, kp, heads), apart(ops, vp, heads)];
  const hidden = prefixBias && apart(ops, ops.reshape(ops.broadcastTo(ops.reshape(prefixBias, [prompts, 1, promptRows]), [prompts, kvHeads, promptRows]), [g, promptRows, 1]), heads);
  const biased = hidden?.map((bias, h) => withBias(ops, keyParts[h]!, bias));
  const elements = g * group * (liveRows * promptRows + ownRows * (promptRows + completionRows));
  const keep = elements <= KEEP_LIMIT;
  const outputs: V[] = [];
  let last: V | undefined;
  /** A piece, and its output unless the whole is known. */
  const run = (queries: V, source: Piece<V>["source"]): { piece: Piece<V>; output: V | undefined } => {
    if (output !== undefined) return { piece: { queries, source, probabilities: undefined }, output: undefined };
    const after = keep ? undefined : last;
    const attended = attend(ops, sequenced(ops, queries, after), source(after));
    last = attended.output;
    return { piece: { queries, source, probabilities: keep ? attended.probabilities : undefined }, output: attended.output };
  };

  const diagonals = new Map<string, V>();
  const diagonal = (count: number, span: Span): V => {
    const key = `${count},${span.from},${span.to}`;
    const known = diagonals.get(key) ?? bandBias(ops, ownBands(count, span, group), count * span.to);
    diagonals.set(key, known);
    return known;
  };
  const saved: SharedPrefixSaved<V> = { prompt: [], completion: [], cuts };
  if (qp !== undefined) {
    const pieces = apart(ops, ops.reshape(qp, [g, liveRows * group, d]), heads).map((queries, h) =>
      cuts.prompt.map((span) =>
        run(sliceRows(ops, queries, span.from * group, span.to * group), () =>
          layout.live === "last"
            ? { keys: keyParts[h]!, values: valueParts[h]!, biased: biased?.[h] }
            : { keys: sliceRows(ops, keyParts[h]!, 0, span.to), values: sliceRows(ops, valueParts[h]!, 0, span.to), diagonal: diagonal(1, { from: 0, to: size(span) }) },
        ),
      ),
    );
    saved.prompt = pieces.map((parts) => parts.map((p) => p.piece));
    if (output === undefined) outputs.push(fromHeads(ops, joined(ops, pieces.map((parts) => joined(ops, parts.map((p) => p.output!), 1)), 0), prompts, liveRows, kvHeads));
  }
  if (ownRows > 0) {
    const part = (x: V, h: number): V[] => apart(ops, ops.reshape(x, [g, completions, completionRows * h, d]), heads);
    const [queries, keys, values] = [part(qc!, group), part(kc!, 1), part(vc!, 1)];
    const pieces = queries.map((ofHead, h) =>
      cuts.groups.map(({ from: first, to: end }) =>
        cuts.completion.map((span) => {
          const chosen = { from: first, to: end };
          return run(ownSlice(ops, ofHead, chosen, { from: span.from * group, to: span.to * group }), (after) => {
            // Behind those of the prompt, so that there is one softmax, and one product with each of the gradients.
            const behind = (prefix: V, own: V): V => ops.concat([prefix, sequenced(ops, ownSlice(ops, own, chosen, { from: 0, to: span.to }), after)], 1);
            return { keys: behind(keyParts[h]!, keys[h]!), values: behind(valueParts[h]!, values[h]!), biased: biased?.[h], diagonal: diagonal(size(chosen), span) };
          });
        }),
      ),
    );
    saved.completion = pieces.map((groups) => groups.map((parts) => parts.map((p) => p.piece)));
    if (output === undefined) {
      const shaped = (x: V, count: number): V => ops.reshape(x, [g / heads, count, ops.shape(x)[1]! / count, d]);
      const ofHeads = pieces.map((groups) => joined(ops, groups.map((parts, i) => joined(ops, parts.map((p) => shaped(p.output!, size(cuts.groups[i]!))), 2)), 1));
      outputs.push(fromHeads(ops, joined(ops, ofHeads, 0), prompts, ownRows, kvHeads));
    }
  }
  return { output: output ?? joined(ops, outputs, 0), prefix: { keys: kp, values: vp }, saved };
}

const size = ({ from, to }: Span): number => to - from;

/** Rows `rows` of the completions `chosen` of [g, completions, rows, d], one after the other [g, chosen·rows, d]. */
function ownSlice<V>(ops: Ops<V>, x: V, chosen: Span, rows: Span): V {
  const [g, , , d] = ops.shape(x) as [number, number, number, number];
  return ops.reshape(ops.slice(x, [0, chosen.from, rows.from, 0], [g, size(chosen), size(rows), d]), [g, size(chosen) * size(rows), d]);
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
  const { cuts } = saved;
  const heads = cuts.byHead ? g : 1;
  const [dp, dc] = partHeads(ops, dOutput, prompts, liveRows, kvHeads);
  const rows = ops.shape(dOutput)[0]!;
  const byRow = (x: V): V => ops.reshape(x, [rows, shape.heads, d]);
  const [pullP, pullC] = partHeads(ops, ops.reshape(softmaxPull(ops, byRow(output), byRow(dOutput)), [rows, shape.heads]), prompts, liveRows, kvHeads);
  let last: V | undefined;
  const back = (piece: Piece<V>, pull: V, dPiece: V): AttendedGradients<V> => {
    const after = piece.probabilities === undefined ? last : undefined;
    const source = piece.source(after);
    const probabilities = piece.probabilities ?? attentionProbabilities(ops, sequenced(ops, piece.queries, after), source);
    const out = attendVjp(ops, piece.queries, source, probabilities, pull, dPiece);
    last = out.queries;
    return out;
  };

  const { keys, values } = { keys: [] as V[], values: [] as V[], ...(more && { keys: [more.keys], values: [more.values] }) };
  const queries: V[] = [];
  if (dp !== undefined) {
    const [dParts, pullParts] = [ops.reshape(dp, [g, liveRows * group, d]), ops.reshape(pullP!, [g, liveRows * group, 1])].map((x) => apart(ops, x, heads)) as [V[], V[]];
    const parts = dParts.map((dRows, h) =>
      saved.prompt[h]!.map((piece, i) => {
        const { from, to } = cuts.prompt[i]!;
        return back(piece, sliceRows(ops, pullParts[h]!, from * group, to * group), sliceRows(ops, dRows, from * group, to * group));
      }),
    );
    keys.push(rowsFirst(ops, joined(ops, parts.map((pieces) => growingSum(ops, pieces.map((p) => p.keys))), 0)));
    values.push(rowsFirst(ops, joined(ops, parts.map((pieces) => growingSum(ops, pieces.map((p) => p.values))), 0)));
    queries.push(fromHeads(ops, joined(ops, parts.map((pieces) => joined(ops, pieces.map((p) => p.queries), 1)), 0), prompts, liveRows, kvHeads));
  }
  const own: { k: V; v: V }[] = [];
  if (ownRows > 0) {
    const part = (x: V, width: number): V[] => apart(ops, ops.reshape(x, [g, completions, completionRows * group, width]), heads);
    const pulls = part(pullC!, 1);
    const ofPrefix = { keys: [] as V[], values: [] as V[] };
    const parts = part(dc!, d).map((ofHead, h) => {
      const prefix = { keys: [] as V[], values: [] as V[] };
      const cut = (x: V, into: V[], count: number): V => {
        const ownColumns = ops.shape(x)[2]! - promptRows;
        const [first, second] = ops.split(x, [promptRows, ownColumns], 2) as [V, V];
        into.push(first);
        return ops.reshape(second, [g / heads, d, count, ownColumns / count]);
      };
      const groups = saved.completion[h]!.map((pieces, i) => {
        const chosen = cuts.groups[i]!;
        const count = size(chosen);
        const outs = pieces.map((piece, s) => {
          const span = { from: cuts.completion[s]!.from * group, to: cuts.completion[s]!.to * group };
          const out = back(piece, ownSlice(ops, pulls[h]!, chosen, span), ownSlice(ops, ofHead, chosen, span));
          return { q: ops.reshape(out.queries, [g / heads, count, size(span), d]), k: cut(out.keys, prefix.keys, count), v: cut(out.values, prefix.values, count) };
        });
        return { q: joined(ops, outs.map(({ q }) => q), 2), k: growingSum(ops, outs.map(({ k }) => k)), v: growingSum(ops, outs.map(({ v }) => v)) };
      });
      ofPrefix.keys.push(sum(ops, prefix.keys));
      ofPrefix.values.push(sum(ops, prefix.values));
      return groups;
    });
    keys.push(rowsFirst(ops, joined(ops, ofPrefix.keys, 0)));
    values.push(rowsFirst(ops, joined(ops, ofPrefix.values, 0)));
    const together = (pick: (group: { q: V; k: V; v: V }) => V, axis: number): V => joined(ops, parts.map((groups) => joined(ops, groups.map(pick), axis)), 0);
    const rowsOf = (x: V): V => fromHeads(ops, x, prompts, ownRows, kvHeads);
    queries.push(rowsOf(together(({ q }) => q, 1)));
    const columnsOf = (x: V): V => rowsOf(rowsFirst(ops, ops.reshape(x, [g, d, ownRows])));
    own.push({ k: columnsOf(together(({ k }) => k, 2)), v: columnsOf(together(({ v }) => v, 2)) });
  }
  const prefix = { keys: sum(ops, keys), values: sum(ops, values) };
  const q = joined(ops, queries, 0);
  if (layout.prefix === "given") return { q, k: own[0]!.k, v: own[0]!.v, prefix };
  const promptRowsOf = (x: V): V => fromHeads(ops, x, prompts, promptRows, kvHeads);
  return { q, k: joined(ops, [promptRowsOf(prefix.keys), ...own.map(({ k }) => k)], 0), v: joined(ops, [promptRowsOf(prefix.values), ...own.map(({ v }) => v)], 0) };
}
