import { createRandom } from "@dramascope/schema";
import type * as tfjs from "@tensorflow/tfjs";
import { TensorFlowError } from "./errors.ts";
import { bindingOf } from "./native/backend.ts";
import type { Binding } from "./native/binding.ts";
import { TF_DTYPES } from "./native/dtypes.ts";
import type { OpAttribute } from "./native/op-attributes.ts";
import { RawTensor } from "./raw-tensor.ts";

/** The binding that can hold bfloat16. */
function bfloat16Binding(tf: typeof tfjs): Binding {
  const binding = bindingOf(tf.backend());
  if (binding) return binding;
  throw new TensorFlowError(`the back end ${tf.getBackend()} has no bfloat16 tensors`, { code: "BFLOAT16_UNAVAILABLE", hint: "Use float32, or a native TensorFlow through koffi (dramascope doctor says what is here)." });
}

/**
 * Puts bfloat16 values on the back end.
 *
 * @param tf    TensorFlow.js on native TensorFlow through koffi.
 * @param bits  One element each: the upper 16 bits of its float32; as many as the shape holds. Copied.
 * @param shape Sizes of the axes.
 * @returns     A tensor that the caller disposes.
 * @throws TensorFlowError `BFLOAT16_UNAVAILABLE` on any other back end, `TENSOR_SHAPE` for sizes that no tensor has, `TENSOR_SIZE` when bits and shape differ.
 */
export function uploadBfloat16(tf: typeof tfjs, bits: Uint16Array, shape: readonly number[]): RawTensor {
  const binding = bfloat16Binding(tf);
  return new RawTensor(binding, binding.createTensor(shape, TF_DTYPES.bfloat16, bits), [...shape]);
}

/** What bfloat16 products bring on this machine. */
export interface Bfloat16Support {
  /** Whether bfloat16 tensors exist here and multiply rightly. */
  usable: boolean;
  /** Whether a product takes at most two thirds of its float32 time: the processor has instructions for it (AMX, AVX512-BF16). */
  fast: boolean;
  /** Time of a 512 × 512 × 512 product in float32 over that in bfloat16; 0 when not usable. Measured, so it varies from call to call. */
  speedup: number;
}

const SIZE = 512;
const ROUNDS = 7;
const FAST_FROM = 1.5;
/** Largest error of a bfloat16 product over its largest value; rounding alone gives 0.4 %. */
const TOLERANCE = 0.02;

const NO_SUPPORT: Bfloat16Support = { usable: false, fast: false, speedup: 0 };

/**
 * Tries bfloat16: one product for its values, then a few in turn with float32 for its time. Takes about 50 milliseconds and leaves
 * nothing behind. A choice that must come out equal on every run should be made once and recorded.
 */
export function bfloat16Support(tf: typeof tfjs): Promise<Bfloat16Support> {
  const binding = bindingOf(tf.backend());
  return Promise.resolve(binding ? measure(binding) : NO_SUPPORT);
}

function measure(binding: Binding): Bfloat16Support {
  const held: number[] = [];
  const hold = (id: number): number => {
    held.push(id);
    return id;
  };
  const run = (name: string, inputs: number[], attributes: OpAttribute[] = []): number => hold(binding.executeOp(name, attributes, inputs, 1)[0]!.id);
  const cast = (id: number, dtype: number): number => run("Cast", [id], [{ name: "DstT", type: binding.TF_ATTR_TYPE, value: dtype }]);
  try {
    const random = createRandom(1);
    const wide = hold(binding.createTensor([SIZE, SIZE], TF_DTYPES.float32, Float32Array.from({ length: SIZE * SIZE }, () => random.uniform() - 0.5)));
    const [corner, one] = [0, 1].map((value) => hold(binding.createTensor([2], TF_DTYPES.int32, [value, value]))) as [number, number];
    const narrow = cast(wide, TF_DTYPES.bfloat16);
    const expected = binding.tensorDataSync(run("MatMul", [wide, wide])) as Float32Array;
    const given = binding.tensorDataSync(cast(run("MatMul", [narrow, narrow]), TF_DTYPES.float32)) as Float32Array;
    const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (!expected.every((value, i) => Math.abs(value - given[i]!) <= TOLERANCE * largest)) return NO_SUPPORT;
    // Reading one element waits for the product, also on a device that works on its own.
    const milliseconds = (id: number): number => {
      const from = performance.now();
      binding.tensorDataSync(run("Slice", [run("MatMul", [id, id]), corner, one]));
      return performance.now() - from;
    };
    let [slow, quick] = [Infinity, Infinity];
    for (let round = 0; round < ROUNDS; round++) {
      slow = Math.min(slow, milliseconds(wide));
      quick = Math.min(quick, milliseconds(narrow));
    }
    return { usable: true, fast: slow / quick >= FAST_FROM, speedup: slow / quick };
  } catch {
    // A build without the kernel refuses the product: that is the answer.
    return NO_SUPPORT;
  } finally {
    held.forEach((id) => binding.deleteTensor(id));
  }
}
