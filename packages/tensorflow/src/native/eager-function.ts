import { TensorFlowError } from "../errors.ts";
import type { Body, OpsDtype } from "../ops.ts";
import type { Binding, TensorMetadata } from "./binding.ts";
import { TF_DTYPES } from "./dtypes.ts";
import { opsDtype } from "./graph.ts";
import { runBody, type Attribute, type Emit, type RawValue } from "./raw-ops.ts";

/** A tensor of the native side while a body runs. */
interface EagerValue extends RawValue {
  id: number;
}

/**
 * Runs a body operation by operation on native TensorFlow: the same operations as a compiled function, each on its own.
 *
 * @param inputs Tensors of the caller by name.
 * @returns      The results by name, owned by the caller, never one of the inputs; every tensor between is freed.
 */
export function runEagerly(binding: Binding, body: Body, inputs: ReadonlyMap<string, TensorMetadata>): Map<string, TensorMetadata> {
  const made = new Set<number>();
  const describe = ({ id, shape, dtype }: TensorMetadata): EagerValue => ({ id, shape, dtype: opsDtype(dtype, "an input or result") });
  const execute = (type: string, ids: readonly number[], attributes: Parameters<Binding["executeOp"]>[1], outputs: number): TensorMetadata[] => {
    const results = binding.executeOp(type, attributes, ids, outputs);
    for (const { id } of results) made.add(id);
    return results;
  };
  const emit: Emit<EagerValue> = {
    node: (type, name, given, attributes, outputs) => {
      const list = given.find((input): input is readonly EagerValue[] => Array.isArray(input));
      const own = Object.entries(attributes).map(([key, value]) => toOpAttribute(binding, key, value));
      // An operation with a list among its inputs does not infer its types.
      if (list) own.push(toOpAttribute(binding, "N", { int: list.length }), toOpAttribute(binding, "T", { type: list[0]!.dtype }));
      try {
        return execute(type, given.flat().map(({ id }) => id), own, outputs).map(describe);
      } catch (error) {
        if (TensorFlowError.isInstance(error)) throw error;
        throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
      }
    },
    constant: (values, shape, dtype) => {
      const id = binding.createTensor(shape, TF_DTYPES[dtype], values);
      made.add(id);
      return { id, shape, dtype };
    },
    isInput: ({ id }) => !made.has(id),
  };
  try {
    const outputs = runBody(emit, body, Object.fromEntries(Array.from(inputs, ([key, metadata]) => [key, describe(metadata)])));
    const results = new Map<string, TensorMetadata>();
    for (const [key, value] of Object.entries(outputs)) {
      // A result that is an input, or another result as well, gets a handle of its own.
      const id = made.has(value.id) ? value.id : execute("Identity", [value.id], [], 1)[0]!.id;
      made.delete(id);
      results.set(key, { id, shape: [...value.shape], dtype: TF_DTYPES[value.dtype] });
    }
    return results;
  } finally {
    for (const id of made) binding.deleteTensor(id);
  }
}

function toOpAttribute(binding: Binding, name: string, attribute: Attribute): { name: string; type: number; value: unknown } {
  if ("int" in attribute) return { name, type: binding.TF_ATTR_INT, value: attribute.int };
  if ("bool" in attribute) return { name, type: binding.TF_ATTR_BOOL, value: attribute.bool };
  if ("type" in attribute) return { name, type: binding.TF_ATTR_TYPE, value: TF_DTYPES[attribute.type satisfies OpsDtype] };
  return { name, type: binding.TF_ATTR_SHAPE, value: [...attribute.shape] };
}
