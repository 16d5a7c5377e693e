import type { Body, Inputs, Ops, TensorLike } from "@dramascope/tensorflow";
import type { Arena } from "../arena.ts";
import { blockInputs, fullName } from "../parameters.ts";
import type { BlockNames, ParameterView } from "../parameters.ts";
import type { Pace } from "../pace.ts";
import type { Runtime } from "../runtime.ts";
import type { BlockWants } from "../text/decoder.ts";
import type { Tensor } from "../tensor-types.ts";
import { withDropout } from "./dropout.ts";
import type { RowDropout } from "./dropout.ts";

/** Accumulators of gradients by full parameter name, in PyTorch's shapes. */
export interface GradientSink {
  has(name: string): boolean;
  /** True when any name starts so. */
  touches(prefix: string): boolean;
  /** The accumulator; it stays owned by the sink. */
  accumulator(name: string): Tensor;
  /** Replaces an accumulator; the old one is freed. */
  replace(name: string, value: Tensor): void;
  /** Runs one backward, which replaces accumulators, after those before it. */
  collect(backward: () => Promise<void>): Promise<void>;
}

/** One block's backward. */
export interface BlockBackward {
  /** Key of the body besides its parameters. */
  key: string;
  names: BlockNames;
  view: ParameterView;
  sink: GradientSink;
  /** Inputs besides the parameters. */
  inputs: Readonly<Record<string, Tensor>>;
  /** Whether the gradient of the block's input is wanted. */
  wantsX: boolean;
  /** What the block's forward dropped. */
  dropout: RowDropout | undefined;
  /** The body's computation, made of the values, scales and wants. */
  vjp<V>(ops: Ops<V>, inputs: Inputs<V>, loraScales: Readonly<Record<string, number>>, wants: BlockWants): Record<string, V>;
}

/** Local names of a block's parameters that the sink collects. */
function wantedParameters(names: BlockNames, tensors: Readonly<Record<string, TensorLike>>, sink: GradientSink): string[] {
  return Object.keys(tensors).filter((local) => sink.has(fullName(names, local)));
}

/** Gradients of a block's inputs that are not parameters: `x` when wanted, `prefixKeys` and `prefixValues` where these are inputs. */
export type InputGradients = Record<string, Tensor | undefined>;

/** Runs a block's backward, adds its parameter gradients to the sink and returns those of its other inputs. */
export async function runBackward(runtime: Runtime, arena: Arena, pace: Pace, block: BlockBackward): Promise<InputGradients> {
  return withDropout(runtime, block.view, block.dropout, (view) => runBlock(runtime, arena, pace, { ...block, view }));
}

async function runBlock(runtime: Runtime, arena: Arena, pace: Pace, block: BlockBackward): Promise<InputGradients> {
  const { names, sink, wantsX } = block;
  const { tensors, loraScales } = blockInputs(block.view, names);
  const wanted = wantedParameters(names, tensors, sink);
  if (wanted.length === 0 && !wantsX) return {};
  const inputs: Record<string, TensorLike> = { ...block.inputs, ...tensors };
  for (const local of wanted) inputs[`sum:${local}`] = sink.accumulator(fullName(names, local));
  const key = `${block.key}:${JSON.stringify(loraScales)}:${String(wantsX)}`;
  const wants: BlockWants = { x: wantsX, parameters: new Set(wanted) };
  const body: Body = (ops, values) => {
    const grads = block.vjp(ops, values, loraScales, wants);
    return summed(ops, values, grads, wanted);
  };
  const out = Object.entries(arena.addAll(await runtime.runPaced(pace, key, inputs, body)));
  for (const [local, sum] of out) if (wants.parameters.has(local)) sink.replace(fullName(names, local), arena.release(sum));
  return Object.fromEntries(out.filter(([local]) => !wants.parameters.has(local)));
}

/** The gradients of wanted parameters added to their sums, and all others as they are; a parameter that the block's rows do not reach has none. */
function summed<V>(ops: Ops<V>, values: Inputs<V>, grads: Record<string, V>, wanted: readonly string[]): Record<string, V> {
  const sums = wanted.filter((local) => grads[local] !== undefined).map((local): [string, V] => {
    const sum = values[`sum:${local}`]!;
    return [local, ops.add(sum, ops.reshape(grads[local]!, ops.shape(sum)))];
  });
  return { ...grads, ...Object.fromEntries(sums) };
}
