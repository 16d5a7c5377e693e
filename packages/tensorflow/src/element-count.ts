import { TensorFlowError } from "./errors.ts";

/** TensorFlow's own bound on the rank of a tensor. */
const MAX_RANK = 253;

/**
 * Elements of a tensor of a shape. TensorFlow ends the process on a shape that it cannot hold, so every shape is checked before it gets there.
 *
 * @param what Names the tensor in the error.
 * @throws TensorFlowError `TENSOR_SHAPE` for sizes that are no whole numbers from 0 on, too many of them, or more elements than can be counted.
 */
export function elementCount(shape: readonly number[], what = "a tensor"): number {
  const areSizes = shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  // An axis of no elements does not excuse the others: TensorFlow multiplies from the left.
  if (!areSizes || shape.length > MAX_RANK || !Number.isSafeInteger(shape.reduce((count, size) => count * Math.max(1, size), 1))) {
    throw new TensorFlowError(`${what} has the impossible shape [${shape.join(",")}]`, { code: "TENSOR_SHAPE", hint: `Give at most ${MAX_RANK} whole sizes from 0 on whose product can be counted.` });
  }
  return shape.reduce((count, size) => count * size, 1);
}
