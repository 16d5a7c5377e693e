#!/usr/bin/env node
/**
 * Fetches the two libraries of a current TensorFlow from its Python wheel. pip serves as a downloader only; nothing of Python's TensorFlow
 * runs. Node built-ins only. Never throws: the answer says what is there and what is not.
 *
 *   node tools/fetch-tensorflow.mjs [--cuda] [--addon] [--into FOLDER]
 *
 * --cuda    the CUDA build with NVIDIA's libraries (4 GB of downloads, 5.5 GB on disk) in place of the CPU build (0.3 and 0.9 GB)
 * --addon   builds the native part of @tensorflow/tfjs-node-gpu beside it too; needs g++
 * --into    a cache other than the workspace's .cache/tensorflow, as ~/.cache/dramascope/tensorflow
 */
import { access, chmod, mkdir, mkdtemp, readFile, readdir, rename, rm, statfs, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildAddon } from "./build-addon.mjs";
import { lastLine, runProgram } from "./run-program.mjs";
import { unpackWheel } from "./wheel.mjs";

const VERSION = "2.21.0";
const LIBRARIES = ["tensorflow/libtensorflow_framework.so.2", "tensorflow/libtensorflow_cc.so.2"];
const NOTICES = "tensorflow/THIRD_PARTY_NOTICES.txt";
const METADATA = `tensorflow-${VERSION}.dist-info/METADATA`;
const MANUAL = "Set DRAMASCOPE_LIBTENSORFLOW to a folder with libtensorflow_cc.so.2 and libtensorflow_framework.so.2 to use your own.";
/** `needs` is what must be free on the disk meanwhile. */
const BUILDS = {
  cpu: { requirement: `tensorflow-cpu==${VERSION}`, suffix: "cpu", needs: 1.3e9, says: "274 MB; 855 MB on disk" },
  cuda: { requirement: `tensorflow==${VERSION}`, suffix: "cuda12", needs: 11e9, says: "with NVIDIA's libraries about 4 GB; 5.5 GB on disk" },
};

const exists = (path) => access(path).then(() => true, () => false);

/** Runs pip, whatever the Python is, for wheels of Python 3.11 on Linux. */
async function pip(command, scratch, args) {
  const ended = await runProgram("python3", ["-m", "pip", command, "-q", "--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--only-binary=:all:", "--python-version", "311", ...args], {
    env: { ...process.env, TMPDIR: scratch },
  });
  if (ended.code !== 0) throw new Error(`pip could not download it: ${lastLine(ended)}`);
}

async function downloadWheel(requirement, scratch) {
  await pip("download", scratch, ["--platform", "manylinux_2_27_x86_64", "-d", scratch, requirement]);
  const wheel = (await readdir(scratch)).find((name) => name.endsWith(".whl"));
  if (!wheel) throw new Error("pip downloaded no wheel");
  return join(scratch, wheel);
}

/** NVIDIA's packages as the wheel asks for them, beside `tensorflow/`: there its libraries look for them without any variable. */
async function fetchCuda(wheel, scratch, unpacked) {
  await unpackWheel(wheel, { folder: scratch, required: [METADATA] });
  const lines = (await readFile(join(scratch, METADATA), "utf8")).split("\n");
  const wanted = lines.flatMap((line) => /^Requires-Dist: ([^;]+); *extra == ["']and-cuda["']/.exec(line)?.[1]?.trim() ?? []);
  if (wanted.length === 0) throw new Error("the wheel does not name the CUDA libraries that it needs");
  const platforms = ["manylinux_2_27_x86_64", "manylinux_2_18_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"].flatMap((name) => ["--platform", name]);
  await pip("install", scratch, ["--implementation", "py", "--abi", "none", ...platforms, "--target", unpacked, ...wanted]);
}

/** Removes what interrupted runs left behind: folders named after a process that is no more. */
async function removeLeftovers(cache) {
  for (const name of await readdir(cache)) {
    if (!name.startsWith(".tmp-")) continue;
    try {
      process.kill(Number(/^\.tmp-(\d+)-/.exec(name)[1]), 0);
    } catch {
      await rm(join(cache, name), { recursive: true, force: true });
    }
  }
}

async function fetchLibraries(wheel, { build, scratch, final, log }) {
  const unpacked = join(scratch, "unpacked");
  await unpackWheel(wheel, { folder: unpacked, required: LIBRARIES, optional: [NOTICES], log });
  if (build === "cuda") {
    log("downloading NVIDIA's libraries, which come under NVIDIA's own licence …");
    await fetchCuda(wheel, scratch, unpacked);
  }
  await writeFile(join(unpacked, ".complete"), `${VERSION}\n`);
  await rename(unpacked, final).catch(async (error) => {
    if (!(await exists(join(final, ".complete")))) throw error;
  });
}

/**
 * Makes sure that a TensorFlow library is in a cache.
 *
 * @param {{ root: string, log: (text: string) => void, build?: "cpu" | "cuda", addon?: boolean, cache?: string }} options Workspace folder, where progress goes,
 *        which build (default cpu), whether to build the addon as well, and the cache (default the workspace's).
 * @returns {Promise<{ ok: boolean, folder?: string, message: string }>}
 */
export async function fetchTensorFlow({ root, log, build = "cpu", addon = false, cache = join(root, ".cache", "tensorflow") }) {
  const { requirement, suffix, needs, says } = BUILDS[build];
  const final = join(cache, `tensorflow-${VERSION}-${suffix}`);
  const libraries = join(final, "tensorflow");
  const isFetched = await exists(join(final, ".complete"));
  const done = { ok: true, folder: final, message: `TensorFlow ${VERSION} (${suffix}) is in place` };
  if (isFetched && (!addon || (await exists(join(libraries, "tfjs_binding.node"))))) return done;
  const without = (reason) => ({ ok: false, message: `no native TensorFlow (${reason}); everything works on wasm, slower. ${MANUAL}` });
  if (process.platform !== "linux" || process.arch !== "x64") return without(`a library is known for Linux x86-64 only, this is ${process.platform} ${process.arch}`);
  if ((await runProgram("python3", ["-m", "pip", "--version"])).code !== 0) return without("python3 with pip, which downloads it, was not found");
  let scratch;
  try {
    await mkdir(cache, { recursive: true });
    const { bavail, bsize } = await statfs(cache);
    if (!isFetched && bavail * bsize < needs) return without(`it needs ${(needs / 1e9).toFixed(1)} GB of disk, ${(bavail * bsize / 1e9).toFixed(1)} GB are free`);
    await removeLeftovers(cache);
    scratch = await mkdtemp(join(cache, `.tmp-${process.pid}-`));
    await chmod(scratch, 0o755);
    log(`downloading TensorFlow ${VERSION} with pip (${says}; DRAMASCOPE_SETUP_TENSORFLOW=off declines) …`);
    const wheel = await downloadWheel(requirement, scratch);
    if (!isFetched) await fetchLibraries(wheel, { build, scratch, final, log });
    if (addon) {
      log("building the addon with g++ …");
      try {
        await buildAddon({ root, wheel, libraries, scratch });
      } catch (error) {
        return { ok: false, folder: final, message: `${done.message}, but the addon was not built: ${error.message}` };
      }
    }
    log(done.message);
    return done;
  } catch (error) {
    return without(error.message);
  } finally {
    if (scratch) await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * What a set-up fetches: a CUDA build where NVIDIA's driver is, else or failing that a CPU build. The environment decides first:
 * `DRAMASCOPE_SETUP_TENSORFLOW` is off, cpu or cuda; a TensorFlow of one's own, or the wish for wasm, needs none.
 *
 * @param {{ root: string, log: (text: string) => void, hasGpu: boolean, env?: Record<string, string | undefined> }} options
 * @returns {Promise<{ ok: boolean, folder?: string, message: string }>}
 */
export async function setUpTensorFlow({ root, log, hasGpu, env = process.env }) {
  const wish = env.DRAMASCOPE_SETUP_TENSORFLOW;
  if (wish === "off") return { ok: false, message: `no native TensorFlow (declined by DRAMASCOPE_SETUP_TENSORFLOW=off); everything works on wasm, slower. ${MANUAL}` };
  if (env.DRAMASCOPE_LIBTENSORFLOW) return { ok: true, message: "DRAMASCOPE_LIBTENSORFLOW names a TensorFlow" };
  if (env.DRAMASCOPE_TENSORFLOW === "wasm") return { ok: true, message: "DRAMASCOPE_TENSORFLOW=wasm asks for none" };
  if (wish === "cuda" || (hasGpu && wish !== "cpu")) {
    const fetched = await fetchTensorFlow({ root, log, build: "cuda" });
    if (fetched.ok || wish === "cuda") return fetched;
    log(`${fetched.message} A build for the CPU is fetched in its place.`);
  }
  return fetchTensorFlow({ root, log });
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { cuda: { type: "boolean" }, addon: { type: "boolean" }, into: { type: "string" } } });
  const log = (text) => process.stderr.write(`${text}\n`);
  const { ok, message } = await fetchTensorFlow({
    root: fileURLToPath(new URL("..", import.meta.url)),
    log,
    build: values.cuda ? "cuda" : "cpu",
    addon: values.addon ?? false,
    ...(values.into === undefined ? {} : { cache: resolve(values.into) }),
  });
  if (!ok) log(message);
  process.exitCode = ok ? 0 : 1;
}
