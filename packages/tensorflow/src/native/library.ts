import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { LibraryHandle } from "koffi";
import { TensorFlowError } from "../errors.ts";

/** koffi as a module. */
export type Koffi = typeof import("koffi");

/** A C function that can be called. */
type KoffiFunction = ReturnType<LibraryHandle["func"]>;

/** Files of one TensorFlow installation, in load order. */
export interface LibraryFiles {
  folder: string;
  files: readonly string[];
}

const LAYOUTS = [
  ["libtensorflow_framework.so.2", "libtensorflow_cc.so.2"],
  ["libtensorflow_framework.so.2", "libtensorflow.so.2"],
];

/** The libraries at a folder, or beside a library file; undefined when they are not there. */
export function findLibraryFiles(path: string): LibraryFiles | undefined {
  if (!existsSync(path)) return undefined;
  const folder = statSync(path).isDirectory() ? path : dirname(path);
  if (folder !== path && !/^libtensorflow.*\.so/u.test(basename(path))) return undefined;
  const names = LAYOUTS.find((layout) => layout.every((name) => existsSync(join(folder, name))));
  return names && { folder, files: names.map((name) => join(folder, name)) };
}

/** The files that are mapped into this process, as Linux lists them; empty on other systems. */
export function readMaps(): string {
  return process.platform === "linux" ? readFileSync("/proc/self/maps", "utf8") : "";
}

const RTLD_LAZY = 0x1;
const RTLD_GLOBAL = 0x100;
const RTLD_NODELETE = 0x1000;

type Signature = [result: string, parameters: string[]];

const P = "void*";
/** The C functions that are used; `out` is the by-value struct of an operation's output. */
const SIGNATURES = {
  TF_Version: ["const char*", []],
  TF_NewStatus: [P, []],
  TF_DeleteStatus: ["void", [P]],
  TF_GetCode: ["int", [P]],
  TF_Message: ["const char*", [P]],
  TF_NewTensor: [P, ["int", P, "int", P, "size_t", P, P]],
  TF_AllocateTensor: [P, ["int", P, "int", "size_t"]],
  TF_DeleteTensor: ["void", [P]],
  TF_TensorData: [P, [P]],
  TF_TensorByteSize: ["size_t", [P]],
  TF_TensorType: ["int", [P]],
  TF_StringInit: ["void", [P]],
  TF_StringCopy: ["void", [P, P, "size_t"]],
  TF_StringGetDataPointer: [P, [P]],
  TF_StringGetSize: ["size_t", [P]],
  TFE_NewContextOptions: [P, []],
  TFE_ContextOptionsSetConfig: ["void", [P, P, "size_t", P]],
  TFE_DeleteContextOptions: ["void", [P]],
  TFE_NewContext: [P, [P, P]],
  TFE_ContextListDevices: [P, [P, P]],
  TF_DeviceListCount: ["int", [P]],
  TF_DeviceListName: ["const char*", [P, "int", P]],
  TF_DeviceListType: ["const char*", [P, "int", P]],
  TF_DeleteDeviceList: ["void", [P]],
  TFE_NewTensorHandle: [P, [P, P]],
  TFE_DeleteTensorHandle: ["void", [P]],
  TFE_TensorHandleDataType: ["int", [P]],
  TFE_TensorHandleNumDims: ["int", [P, P]],
  TFE_TensorHandleDim: ["int64_t", [P, "int", P]],
  TFE_TensorHandleResolve: [P, [P, P]],
  TFE_TensorHandleCopyToDevice: [P, [P, P, "const char*", P]],
  TFE_NewOp: [P, [P, "const char*", P]],
  TFE_OpReset: ["void", [P, "const char*", P, P]],
  TFE_OpSetDevice: ["void", [P, "const char*", P]],
  TFE_DeleteOp: ["void", [P]],
  TFE_OpAddInput: ["void", [P, P, P]],
  TFE_OpSetAttrString: ["void", [P, "const char*", P, "size_t"]],
  TFE_OpSetAttrInt: ["void", [P, "const char*", "int64_t"]],
  TFE_OpSetAttrFloat: ["void", [P, "const char*", "float"]],
  TFE_OpSetAttrBool: ["void", [P, "const char*", "uint8_t"]],
  TFE_OpSetAttrType: ["void", [P, "const char*", "int"]],
  TFE_OpSetAttrShape: ["void", [P, "const char*", P, "int", P]],
  TFE_OpSetAttrIntList: ["void", [P, "const char*", P, "int"]],
  TFE_OpSetAttrFloatList: ["void", [P, "const char*", P, "int"]],
  TFE_OpSetAttrBoolList: ["void", [P, "const char*", P, "int"]],
  TFE_OpSetAttrTypeList: ["void", [P, "const char*", P, "int"]],
  TFE_OpSetAttrStringList: ["void", [P, "const char*", "const char**", P, "int"]],
  TFE_Execute: ["void", [P, P, P, P]],
  TFE_NewCancellationManager: [P, []],
  TFE_CancellationManagerStartCancel: ["void", [P]],
  TFE_DeleteCancellationManager: ["void", [P]],
  TFE_OpSetCancellationManager: ["void", [P, P, P]],
  TFE_ContextAddFunction: ["void", [P, P, P]],
  TFE_ContextRemoveFunction: ["void", [P, "const char*", P]],
  TF_NewGraph: [P, []],
  TF_DeleteGraph: ["void", [P]],
  TF_NewOperation: [P, [P, "const char*", "const char*"]],
  TF_AddInput: ["void", [P, "out"]],
  TF_AddInputList: ["void", [P, P, "int"]],
  TF_SetAttrInt: ["void", [P, "const char*", "int64_t"]],
  TF_SetAttrBool: ["void", [P, "const char*", "uint8_t"]],
  TF_SetAttrType: ["void", [P, "const char*", "int"]],
  TF_SetAttrShape: ["void", [P, "const char*", P, "int"]],
  TF_SetAttrTensor: ["void", [P, "const char*", P, P]],
  TF_FinishOperation: [P, [P, P]],
  TF_OperationOutputType: ["int", ["out"]],
  TF_GraphGetTensorNumDims: ["int", [P, "out", P]],
  TF_GraphGetTensorShape: ["void", [P, "out", P, "int", P]],
  TF_GraphToFunction: [P, [P, "const char*", "uint8_t", "int", P, "int", P, "int", P, P, P, P, P]],
  TF_DeleteFunction: ["void", [P]],
} as const satisfies Record<string, Signature | readonly [string, readonly string[]]>;

const LIBC_SIGNATURES = {
  memcpy: [P, [P, P, "size_t"]],
  mmap: [P, [P, "size_t", "int", "int", "int", "int64_t"]],
  dlsym: [P, [P, "const char*"]],
} as const satisfies Record<string, Signature | readonly [string, readonly string[]]>;

/** TensorFlow's C functions by name, and some of libc. */
export type CFunctions = Record<keyof typeof SIGNATURES | keyof typeof LIBC_SIGNATURES, KoffiFunction>;

/**
 * Opens the libraries for the rest of the process and looks up every function.
 *
 * @throws TensorFlowError `TENSORFLOW_UNUSABLE` when a file cannot be loaded or lacks a function.
 */
export function openLibrary(koffi: Koffi, { files }: LibraryFiles): CFunctions {
  const libc = koffi.load("libc.so.6");
  const dlopen = libc.func("dlopen", P, ["const char*", "int"]);
  const dlerror = libc.func("dlerror", "const char*", []);
  const out = koffi.struct({ oper: P, index: "int" });
  // koffi closes libraries at exit while TensorFlow's threads still run in them: NODELETE keeps their code in place.
  for (const file of files) {
    if (dlopen(file, RTLD_LAZY | RTLD_GLOBAL | RTLD_NODELETE) === null) {
      throw new TensorFlowError(`${file} cannot be loaded: ${String(dlerror())}`, { code: "TENSORFLOW_UNUSABLE", hint: "Check that the libraries are whole and fit this machine." });
    }
  }
  const libraries = [...files].reverse().map((file) => koffi.load(file));
  const lookUp = (name: string, [result, parameters]: readonly [string, readonly string[]]): KoffiFunction => {
    const types = parameters.map((type) => (type === "out" ? out : type));
    for (const library of libraries) {
      try {
        return library.func(name, result, types);
      } catch {
        // The other library of the pair may hold it.
      }
    }
    throw new TensorFlowError(`${files.join(", ")}: no function ${name}`, { code: "TENSORFLOW_UNUSABLE", hint: "Use the libraries of one TensorFlow 2.x release." });
  };
  const entries = Object.entries(SIGNATURES).map(([name, signature]) => [name, lookUp(name, signature)] as const);
  const libcEntries = Object.entries(LIBC_SIGNATURES).map(([name, [result, parameters]]) => [name, libc.func(name, result, [...parameters])] as const);
  return Object.fromEntries([...entries, ...libcEntries]) as CFunctions;
}
