import type * as tfjs from "@tensorflow/tfjs";

/**
 * Checks that the current back end really computes: one product with a known answer, and one that must be refused.
 * Resolves to what is wrong, or undefined.
 */
export async function probe(tf: typeof tfjs): Promise<string | undefined> {
  const product = tf.tidy(() => {
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    return tf.matMul(x, x, false, true);
  });
  try {
    const values = Array.from(await product.data());
    if (values.join() !== "5,11,11,25") return `a product of two small matrices came out as [${values.join(", ")}]`;
  } finally {
    product.dispose();
  }
  return undefined;
}

/** Checks that a native binding reports errors: a product of shapes that do not fit must be refused by TensorFlow itself. */
export function probeRefusal(executeOp: (name: string, ids: number[]) => unknown, ids: number[]): string | undefined {
  try {
    executeOp("MatMul", ids);
  } catch (error) {
    const { message } = error as Error;
    return message.includes("size-incompatible") ? undefined : `an impossible product was refused with an unexpected text: ${message}`;
  }
  return "an impossible product was not refused";
}
