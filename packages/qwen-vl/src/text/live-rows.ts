import type { Inputs, Ops } from "@dramascope/tensorflow";
import type { RowLayout } from "./shared-prefix.ts";

/** Rows [rows, width] that go on after attention: the prompts' and then the completions'. `last`, int32 [prompts], is read where of each prompt only that row does. */
export function liveRows<V>(ops: Ops<V>, x: V, last: V | undefined, layout: RowLayout): V {
  if (layout.live !== "last") return x;
  const prompts = ops.gather(x, last!);
  return layout.completions === 0 ? prompts : ops.concat([prompts, completionRows(ops, x, layout)], 0);
}

/** Adjoint of {@link liveRows}. */
export function spreadRows<V>(ops: Ops<V>, x: V, last: V | undefined, layout: RowLayout): V {
  if (layout.live !== "last") return x;
  const own = ops.shape(x)[0]! - layout.prompts;
  const parts = own === 0 ? [x] : ops.split(x, [layout.prompts, own], 0);
  const prompts = ops.segmentSum(parts[0]!, last!, layout.prompts * layout.promptRows);
  return own === 0 ? prompts : ops.concat([prompts, parts[1]!], 0);
}

/** Rows of the completions among all rows [rows, width]. */
export function completionRows<V>(ops: Ops<V>, x: V, layout: RowLayout): V {
  const before = layout.prompts * layout.promptRows;
  const [rows, width] = ops.shape(x) as [number, number];
  return ops.slice(x, [before, 0], [rows - before, width]);
}

/** The inputs of a layer for linears over the rows that go on: masks of adapters are cut to these. */
export function liveInputs<V>(ops: Ops<V>, inputs: Inputs<V>, layout: RowLayout): Inputs<V> {
  if (layout.live !== "last") return inputs;
  return Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, name.endsWith(".lora_kept") ? liveRows(ops, value, inputs["last"], layout) : value]));
}
