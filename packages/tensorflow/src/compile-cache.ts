import type * as tfjs from "@tensorflow/tfjs";
import { compile, type Compiled, type CompileOptions } from "./compile.ts";
import type { Body, TensorSpec } from "./ops.ts";

/** Compiled functions by name and input shapes, the least recently used freed first. */
export interface CompileCache {
  /**
   * The function for these inputs, built when it is not there.
   *
   * @param name Must tell bodies apart: the same name and shapes mean the same computation.
   */
  get(name: string, inputs: Readonly<Record<string, TensorSpec>>, body: Body): Compiled;
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
  const functions = new Map<string, Compiled>();
  return {
    get(name, inputs, body) {
      const key = `${name}(${Object.entries(inputs).map(([input, { shape, dtype }]) => `${input}:${dtype}[${shape.join(",")}]`).join(";")})`;
      let found = functions.get(key);
      if (found) functions.delete(key);
      else found = compile(tf, name, inputs, body, options);
      functions.set(key, found);
      if (functions.size > limit) {
        const [oldest, unused] = functions.entries().next().value!;
        functions.delete(oldest);
        unused.dispose();
      }
      return found;
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
