import type { Body } from "@dramascope/tensorflow";
import { Arena } from "../arena.ts";
import { QwenVlError } from "../errors.ts";
import type { Runtime } from "../runtime.ts";
import type { TrainableSet } from "../adapter-types.ts";
import type { Tensor } from "../tensor-types.ts";
import type { GradientSink } from "./gradients.ts";
import type { LoraState } from "./lora.ts";

/** One trainable parameter: how to read and replace it; values have PyTorch's shape. */
export interface TrainableParameter {
  name: string;
  shape: readonly number[];
  /** The value, owned by the caller. */
  read(): Tensor;
  /** Replaces the value and takes ownership. */
  write(value: Tensor): void;
}

function elements(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Options of a {@link ParameterSet}. */
export interface ParameterSetOptions {
  /** The adapter whose matrices these are; undefined for weights. */
  adapter: LoraState | undefined;
  /** Throws when values cannot change now. */
  refuse: (change: string) => void;
}

/** Parameters with their gradient accumulators. */
export class ParameterSet implements TrainableSet, GradientSink {
  readonly names: string[];
  readonly adapter: LoraState | undefined;
  readonly #refuse: ParameterSetOptions["refuse"];
  readonly #parameters: Map<string, TrainableParameter>;
  readonly #sums = new Map<string, Tensor>();
  readonly #runtime: Runtime;
  #backwards: Promise<unknown> = Promise.resolve();
  #state: "whole" | "growing" | "torn" = "whole";
  #disposed = false;

  constructor(runtime: Runtime, parameters: readonly TrainableParameter[], { adapter, refuse }: ParameterSetOptions) {
    this.#runtime = runtime;
    this.adapter = adapter;
    this.#refuse = refuse;
    this.#parameters = new Map(parameters.map((p) => [p.name, p]));
    this.names = [...this.#parameters.keys()];
    this.#zero();
  }

  /** Whether it still takes gradients. */
  get alive(): boolean {
    return !this.#disposed;
  }

  has(name: string): boolean {
    return this.#parameters.has(name);
  }

  touches(prefix: string): boolean {
    return this.names.some((name) => name.startsWith(prefix));
  }

  accumulator(name: string): Tensor {
    this.#alive();
    const sum = this.#sums.get(name);
    if (sum === undefined) throw this.#unknown(name);
    return sum;
  }

  replace(name: string, value: Tensor): void {
    if (this.#disposed) value.dispose();
    this.#alive();
    this.#sums.get(name)?.dispose();
    this.#sums.set(name, value);
  }

  collect(backward: () => Promise<void>): Promise<void> {
    const run = this.#backwards.then(async () => {
      this.#alive();
      const before = this.#state;
      this.#state = "growing";
      try {
        await backward();
        this.#state = before;
      } catch (error) {
        this.#state = "torn";
        throw error;
      }
    });
    this.#backwards = run.catch(() => undefined);
    return run;
  }

  value(name: string): Tensor {
    this.#alive();
    return this.#parameter(name).read();
  }

  gradient(name: string): Tensor | undefined {
    this.#whole();
    return this.#sums.get(name);
  }

  assign(name: string, value: Tensor): void {
    this.#alive();
    this.#refuse("values cannot be assigned");
    const parameter = this.#parameter(name);
    if (value.shape.join() !== parameter.shape.join()) {
      throw new QwenVlError(`${name} has shape [${parameter.shape.join(", ")}], the given value [${value.shape.join(", ")}]`, { code: "BAD_SHAPE" });
    }
    parameter.write(value);
  }

  zeroGradients(): void {
    this.#alive();
    if (this.#state === "growing") throw this.#busy();
    this.#zero();
    this.#state = "whole";
  }

  scaleGradients(f: number): void {
    this.#whole();
    for (const name of this.names) this.replace(name, this.accumulator(name).mul(f));
  }

  async gradientNorm(): Promise<number> {
    let sum = 0;
    for (const values of await this.readGradients()) for (const value of values) sum += value * value;
    return Math.sqrt(sum);
  }

  async readGradients(): Promise<Float32Array[]> {
    this.#whole();
    return this.#readAll(this.names.map((name) => this.accumulator(name)));
  }

  async readValues(): Promise<Float32Array[]> {
    const arena = new Arena();
    try {
      return await this.#readAll(this.names.map((name) => arena.add(this.value(name))));
    } finally {
      arena.dispose();
    }
  }

  assignAll(values: readonly Float32Array[]): void {
    this.#alive();
    this.#refuse("values cannot be assigned");
    const shapes = this.names.map((name) => this.#parameter(name).shape);
    const sizes = shapes.map(elements);
    if (values.length !== sizes.length || values.some((v, i) => v.length !== sizes[i])) {
      const at = sizes.findIndex((size, i) => values[i]?.length !== size);
      throw new QwenVlError(`assignAll needs ${sizes.length} arrays in the order of names; array ${at} has ${values[at]?.length ?? "no"} entries, expected ${sizes[at] ?? 0}`, {
        code: "BAD_SHAPE",
      });
    }
    const flat = new Float32Array(sizes.reduce((a, b) => a + b, 0));
    let at = 0;
    for (const value of values) {
      flat.set(value, at);
      at += value.length;
    }
    const packed = this.#runtime.floats(flat, [flat.length]);
    try {
      const body: Body = (ops, v) => {
        const parts = sizes.length === 1 ? [v["x"]!] : ops.split(v["x"]!, sizes, 0);
        return Object.fromEntries(parts.map((part, i) => [`p${i}`, ops.reshape(part, shapes[i]!)]));
      };
      const ranks = shapes.every((shape) => shape.length <= 4);
      if (ranks) {
        const out = this.#runtime.run(`unpack:${JSON.stringify(shapes)}`, { x: packed }, body);
        this.names.forEach((name, i) => {
          this.#parameter(name).write(out[`p${i}`]!);
        });
      } else {
        this.names.forEach((name, i) => {
          this.#parameter(name).write(this.#runtime.floats(values[i]!, shapes[i]!));
        });
      }
    } finally {
      packed.dispose();
    }
  }

  /** Frees the accumulators. */
  dispose(): void {
    this.#disposed = true;
    for (const sum of this.#sums.values()) sum.dispose();
    this.#sums.clear();
  }

  #zero(): void {
    for (const { name, shape } of this.#parameters.values()) this.replace(name, this.#runtime.tf.zeros([...shape], "float32"));
  }

  async #readAll(tensors: readonly Tensor[]): Promise<Float32Array[]> {
    const inputs = Object.fromEntries(tensors.map((t, i) => [`p${i}`, t]));
    if (tensors.some((t) => t.rank > 4)) return Promise.all(tensors.map(async (t) => (await t.data()) as Float32Array));
    const body: Body = (ops, v) => {
      const flat = tensors.map((t, i) => ops.reshape(v[`p${i}`]!, [t.size]));
      return { all: flat.length === 1 ? flat[0]! : ops.concat(flat, 0) };
    };
    const all = this.#runtime.run("pack", inputs, body)["all"]!;
    const values = (await all.data()) as Float32Array;
    all.dispose();
    let at = 0;
    return tensors.map((t) => values.slice(at, (at += t.size)));
  }

  #parameter(name: string): TrainableParameter {
    const parameter = this.#parameters.get(name);
    if (parameter === undefined) throw this.#unknown(name);
    return parameter;
  }

  #unknown(name: string): QwenVlError {
    return new QwenVlError(`"${name}" is not in this trainable set of ${this.names.length} parameters`, { code: "UNKNOWN_PARAMETER" });
  }

  #alive(): void {
    if (this.#disposed) throw new QwenVlError("the trainable set was disposed, by itself or with its adapter or model, or because another one took its place", { code: "DISPOSED", hint: "Call trainable() again." });
  }

  #busy(): QwenVlError {
    return new QwenVlError("a gradient call is adding to these sums", { code: "BUSY", hint: "Wait for it." });
  }

  /** Refuses sums that hold a part of a gradient. */
  #whole(): void {
    this.#alive();
    if (this.#state === "growing") throw this.#busy();
    if (this.#state === "torn") throw new QwenVlError("a gradient call ended midway: the sums hold a part of its gradient", { code: "PARTIAL_GRADIENT", hint: "Call zeroGradients()." });
  }
}
