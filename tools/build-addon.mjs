/** Compiles the native part of @tensorflow/tfjs-node-gpu against fetched libraries. Node built-ins and g++ only. */
import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { lastLine, runProgram } from "./run-program.mjs";
import { unpackWheel } from "./wheel.mjs";

const PREFIX = "tensorflow/include/";
/** What the addon includes, directly and through one another. */
const HEADERS = [
  ...["c_api", "c_api_macros", "tf_attrtype", "tf_buffer", "tf_datatype", "tf_status", "tf_tensor", "tf_tstring", "eager/c_api"].map((name) => `tensorflow/c/${name}.h`),
  ...["tensorflow/core", "tsl"].flatMap((folder) => ["ctstring", "ctstring_internal"].map((name) => `${folder}/platform/${name}.h`)),
  "xla/tsl/c/tsl_status.h",
].map((name) => PREFIX + name);

/**
 * Builds `tfjs_binding.node` beside the libraries, which it finds there at run time.
 *
 * @param {{ root: string, wheel: string, libraries: string, scratch: string }} options Workspace, TensorFlow's wheel, folder of its libraries, and a folder
 *        for what is needed meanwhile, on the same file system.
 */
export async function buildAddon({ root, wheel, libraries, scratch }) {
  const modules = join(root, "node_modules");
  const sources = join(modules, "@tensorflow", "tfjs-node-gpu", "binding");
  if (!existsSync(sources)) throw new Error("@tensorflow/tfjs-node-gpu, whose sources it is made of, is not installed");
  const nodeApi = ["node-api-headers", "koffi/vendor/node-api-headers"].map((name) => join(modules, name, "include")).find((folder) => existsSync(join(folder, "node_api.h")));
  if (!nodeApi) throw new Error("Node's headers are missing: npm install node-api-headers");
  if ((await runProgram("g++", ["--version"])).code !== 0) throw new Error("g++ was not found: apt install g++");
  const include = join(scratch, "include");
  await unpackWheel(wheel, { folder: include, required: HEADERS, prefix: PREFIX });
  const made = join(scratch, "tfjs_binding.node");
  const built = await runProgram("g++", [
    ...["-std=c++17", "-O2", "-fPIC", "-shared", "-DNAPI_VERSION=8", `-I${nodeApi}`, `-I${include}`],
    ...["tfjs_backend.cc", "tfjs_binding.cc"].map((name) => join(sources, name)),
    ...["-o", made, `-L${libraries}`, "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", "-Wl,-rpath,$ORIGIN"],
  ]);
  if (built.code !== 0) throw new Error(`g++ failed: ${lastLine(built)}`);
  await rename(made, join(libraries, "tfjs_binding.node"));
}
