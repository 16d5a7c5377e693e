import type { Body, TensorLike } from "@dramascope/tensorflow";
import type { Arena } from "../arena.ts";
import type { ModuleTensors, ParameterView } from "../parameters.ts";
import type { Runtime } from "../runtime.ts";
import type { Tensor } from "../tensor-types.ts";

/** W + scale · (B A)ᵀ in [in, out], added in float32 and rounded once to the type of W; owned by the caller. */
export function foldedWeight(runtime: Runtime, weight: TensorLike, lora: { a: Tensor; b: Tensor; scale: number }): TensorLike {
  const body: Body = (ops, v) => {
    const update = ops.matmul(v["a"]!, v["b"]!, { transposeA: true, transposeB: true });
    const folded = ops.add(ops.cast(v["weight"]!, "float32"), ops.mul(update, ops.scalar(lora.scale)));
    return { y: ops.cast(folded, ops.dtype(v["weight"]!)) };
  };
  return runtime.run<TensorLike>(`fold:${lora.scale}`, { weight, a: lora.a, b: lora.b }, body)["y"]!;
}

/** The same parameters with every low-rank part added into its weight; each is folded at its first use and lives as long as the arena. */
export function foldedView(runtime: Runtime, arena: Arena, view: ParameterView): ParameterView {
  const folded = new Map<string, ModuleTensors>();
  return {
    tensor: (name) => view.tensor(name),
    blocks: (name) => view.blocks(name),
    module(name) {
      const known = folded.get(name);
      if (known !== undefined) return known;
      const module = view.module(name);
      const made = module.lora === undefined ? module : { weight: arena.add(foldedWeight(runtime, module.weight, module.lora)), bias: module.bias };
      folded.set(name, made);
      return made;
    },
  };
}
