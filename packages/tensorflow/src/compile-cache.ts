import type * as tfjs from "@tensorflow/tfjs";
import { compile, type Compiled, type CompileOptions } from "./compile.ts";
import type { Body, TensorSpec } from "./ops.ts";
import type { TensorLike } from "./raw-tensor.ts";

/** Compiled functions by name and input shapes, the least recently used freed first. */
export interface CompileCache {
  /**
   * The function for these inputs, built when it is not there.
   *
   * @param name Must tell bodies apart: the same name and shapes mean the same computation.
   */
  get<Output extends TensorLike = tfjs.Tensor>(name: string, inputs: Readonly<Record<string, TensorSpec>>, body: Body): Compiled<Output>;
  /** Functions held. */
  readonly size: number;
  /** Frees all functions. */
  dispose(): void;
}

/** Options of {@link createCompileCache}. */
export interface CompileCacheOptions extends CompileOptions {
  /** Functions held at most. Default 64. */
  limit?: number;
}

/** Makes a bounded cache of compiled functions. */
export function createCompileCache(tf: typeof tfjs, options: CompileCacheOptions = {}): CompileCache {
  const { limit = 64 } = options;
  const functions = new Map<string, Compiled<TensorLike>>();
  return {
    get<Output extends TensorLike = tfjs.Tensor>(name: string, inputs: Readonly<Record<string, TensorSpec>>, body: Body) {
      const key = `${name}(${Object.entries(inputs).map(([input, { shape, dtype }]) => `${input}:${dtype}[${shape.join(",")}]`).join(";")})`;
      let found = functions.get(key);
      if (found) functions.delete(key);
      else found = compile<TensorLike>(tf, name, inputs, body, options);
      functions.set(key, found);
      if (functions.size > limit) {
        const [oldest, unused] = functions.entries().next().value!;
        functions.delete(oldest);
        unused.dispose();
      }
      return found as Compiled<Output>;
    },
    get size() {
      return functions.size;
    },
    dispose() {
      for (const one of functions.values()) one.dispose();
      functions.clear();
    },
  };
}
