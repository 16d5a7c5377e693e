import type { TensorLike } from "@dramascope/tensorflow";
import { vi } from "vitest";
import { Runtime } from "../../src/runtime.ts";
import { difference, relativeDifference } from "../support.ts";
import { fromHost, toHost, type HostTensor, type RecordedBody } from "./record.ts";

/** Runs a recorded body on the current back end with the given inputs, as a compiled function where that can be, or operation by operation. */
export function replay({ key, body, tf, products }: Pick<RecordedBody, "key" | "body" | "tf" | "products">, inputs: Readonly<Record<string, HostTensor>>, mode: "compiled" | "eager"): Record<string, HostTensor> {
  const runtime = new Runtime(tf, products);
  const given = Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, fromHost(tf, tensor)]));
  vi.stubEnv("DRAMASCOPE_COMPILE", mode === "eager" ? "off" : undefined);
  try {
    const results = runtime.run<TensorLike>(key, given, body);
    const values = Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, toHost(tf, tensor)]));
    for (const tensor of Object.values(results)) tensor.dispose();
    return values;
  } finally {
    vi.unstubAllEnvs();
    for (const tensor of Object.values(given)) tensor.dispose();
    runtime.dispose();
  }
}

function oneDifference({ values: actual }: HostTensor, { values: expected }: HostTensor): number {
  return expected.every((value) => value === 0) ? difference(actual, expected) : relativeDifference(actual, expected);
}

/** Largest difference of any result over the largest value of that result. */
export function resultDifference(actual: Readonly<Record<string, HostTensor>>, expected: Readonly<Record<string, HostTensor>>): number {
  const names = Object.keys(expected);
  if (names.join() !== Object.keys(actual).join()) throw new Error(`results ${Object.keys(actual).join()} instead of ${names.join()}`);
  return Math.max(...names.map((name) => oneDifference(actual[name]!, expected[name]!)));
}
