import { createRequire } from "node:module";
import { loadTensorFlow, type LoadedTensorFlow } from "@dramascope/tensorflow";
import { beforeAll, expect, it } from "vitest";
import { startAsyncCall } from "../src/native/async-call.ts";
import type { Binding } from "../src/native/binding.ts";
import { TF_DTYPES } from "../src/native/dtypes.ts";
import { GraphRecorder, type GraphValue } from "../src/native/graph.ts";
import { bindingFor, needsKoffi } from "./support.ts";

let loaded: LoadedTensorFlow;
beforeAll(async () => {
  loaded = await loadTensorFlow();
});

const count = { shape: [], dtype: "int32" } as const;

/** Registers a function of one counter; gives its TF_Function. */
function record(binding: Binding, name: string, build: (recorder: GraphRecorder, i: GraphValue) => GraphValue): bigint {
  const recorder = new GraphRecorder(binding);
  try {
    const i = recorder.placeholder("i", count);
    return recorder.finish(name, [i], [build(recorder, i)]);
  } finally {
    recorder.dispose();
  }
}

/** A lowered loop that counts to two thousand million. */
function recordLoop(binding: Binding): bigint[] {
  const { c, status, check } = binding.raw;
  const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
  const find = (name: string, parameters: string[]): ((...values: unknown[]) => unknown) => koffi.decode(c.dlsym(null, name) as bigint, koffi.proto("void", parameters)) as (...values: unknown[]) => unknown;
  const setFunction = find("TF_SetAttrFuncName", ["void*", "const char*", "const char*", "size_t"]);
  const setTypes = find("TF_SetAttrTypeList", ["void*", "const char*", "void*", "int"]);
  const made = [
    record(binding, "LoopCondition", (recorder, i) => recorder.record((ops, v) => ({ y: ops.less(v["i"]!, ops.constant([2_000_000_000], [], "int32")) }), { i })["y"]!),
    record(binding, "LoopBody", (recorder, i) => recorder.record((ops, v) => ({ y: ops.add(v["i"]!, ops.constant([1], [], "int32")) }), { i })["y"]!),
    record(binding, "Loop", ({ graph }, i) => {
      const loop = c.TF_NewOperation(graph, "StatelessWhile", "loop") as bigint;
      c.TF_AddInputList(loop, BigUint64Array.of(i.oper, 0n), 1);
      setTypes(loop, "T", Int32Array.of(TF_DTYPES.int32), 1);
      setFunction(loop, "cond", "LoopCondition", 13);
      setFunction(loop, "body", "LoopBody", 8);
      c.TF_SetAttrBool(loop, "_lower_using_switch_merge", 1);
      const oper = c.TF_FinishOperation(loop, status) as bigint;
      check();
      return { oper, index: 0, ...count };
    }),
  ];
  return made;
}

it("a loop stops when its call is cancelled, long before its end", async ({ skip }) => {
  needsKoffi(loaded, skip);
  const binding = bindingFor(loaded.tf);
  const { c, context, status } = binding.raw;
  const made = recordLoop(binding);
  const before = binding.getNumOfTensors();
  const start = binding.createTensor([], TF_DTYPES.int32, [0]);
  const call = startAsyncCall(binding, "Loop", [start], 1);
  await new Promise((resolve) => setTimeout(resolve, 30));
  call.cancel();
  await expect(call.handles).rejects.toThrow(/cancelled/u);
  call.cancel();
  binding.deleteTensor(start);
  expect(binding.getNumOfTensors()).toBe(before);
  for (const name of ["Loop", "LoopBody", "LoopCondition"]) c.TFE_ContextRemoveFunction(context, name, status);
  for (const one of made) c.TF_DeleteFunction(one);
});
