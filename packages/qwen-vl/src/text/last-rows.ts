import type { Body, Inputs, Ops } from "@dramascope/tensorflow";
import type { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import { attend } from "../ops/attention.ts";
import type { Pace } from "../pace.ts";
import { rmsNorm } from "../ops/elementwise.ts";
import { linear } from "../ops/linear.ts";
import { blockInputs, decoderLayerNames } from "../parameters.ts";
import type { ParameterView } from "../parameters.ts";
import type { Tensor } from "../types.ts";
import { feedForward, linearInputs, rotateRows } from "./decoder.ts";
import type { DecoderShape } from "./decoder.ts";
import { decoderShape } from "./forward.ts";
import type { RowTensors } from "./forward.ts";
import { toHeads } from "./shared-prefix.ts";

/**
 * The last decoder layer where only the last row of each prompt goes on: keys and values of all rows, the rest of one row a prompt. Inputs as in
 * `decoderBlock` of prompts alone, besides `last` (int32 [prompts]), the rows asked for, and `prefixBias` [prompts, rows], which hides what follows them.
 */
export function lastRowsBlock<V>(ops: Ops<V>, inputs: Inputs<V>, shape: DecoderShape): { y: V; keys: V; values: V } {
  const { heads, kvHeads, headDim: d, eps, loraScales } = shape;
  const [prompts, promptRows] = ops.shape(inputs["prefixBias"]!) as [number, number];
  const project = (name: string, x: V): V => linear(ops.scope(name), x, linearInputs(inputs, name, loraScales));
  const chosen = (x: V): V => ops.gather(x, inputs["last"]!);
  const norm1 = rmsNorm(ops, inputs["x"]!, inputs["input_layernorm.weight"]!, eps);
  const keys = toHeads(ops, rotateRows(ops, project("k_proj", norm1), kvHeads, inputs["cos"]!, inputs["sin"]!), prompts, kvHeads);
  const values = toHeads(ops, project("v_proj", norm1), prompts, kvHeads);
  const q = ops.mul(rotateRows(ops, project("q_proj", chosen(norm1)), heads, chosen(inputs["cos"]!), chosen(inputs["sin"]!)), ops.scalar(1 / Math.sqrt(d)));
  const bias = ops.reshape(ops.broadcastTo(ops.reshape(inputs["prefixBias"]!, [prompts, 1, promptRows]), [prompts, kvHeads, promptRows]), [prompts * kvHeads, 1, promptRows]);
  const { output } = attend(ops, ops.reshape(q, [prompts * kvHeads, heads / kvHeads, d]), [{ keys, values, bias }]);
  const { y } = feedForward(ops, inputs, shape, chosen(inputs["x"]!), ops.reshape(output, [prompts, heads * d]));
  return { y, keys, values };
}

/** Results of {@link runLastRows}. */
export interface LastRowsResult {
  /** [prompts, hidden]. */
  y: Tensor;
  keys: Tensor;
  values: Tensor;
}

/** The last decoder layer for the rows `last`, one of each prompt. */
export async function runLastRows(
  core: Core, arena: Arena, view: ParameterView, rows: RowTensors, x: Tensor, prefixBias: Tensor, last: Int32Array, pace: Pace,
): Promise<LastRowsResult> {
  const { tensors, loraScales } = blockInputs(view, decoderLayerNames(core.config.text.layers - 1));
  const shape = decoderShape(core, loraScales);
  const body: Body = (ops, v) => ({ ...lastRowsBlock(ops, v, shape) });
  const index = arena.add(core.runtime.ints(last, [last.length]));
  const inputs = { x, cos: rows.cos, sin: rows.sin, prefixBias, last: index, ...tensors };
  const { y, keys, values } = arena.addAll(await core.runtime.runPaced(pace, `last_rows:${JSON.stringify(loraScales)}`, inputs, body));
  arena.free(index);
  return { y: y!, keys: keys!, values: values! };
}
