/**
 * Fetches the two libraries of a current TensorFlow from its Python wheel into .cache/tensorflow. pip serves as a downloader only;
 * nothing of Python's TensorFlow runs. Node built-ins only. Never throws: the answer says what is there and what is not.
 */
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { access, chmod, mkdir, mkdtemp, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createInflateRaw } from "node:zlib";

const VERSION = "2.21.0";
const MEMBERS = ["tensorflow/libtensorflow_framework.so.2", "tensorflow/libtensorflow_cc.so.2", "tensorflow/THIRD_PARTY_NOTICES.txt"];
const REQUIRED = MEMBERS.filter((name) => name.endsWith(".so.2"));
const MANUAL = "Set DRAMASCOPE_LIBTENSORFLOW to a folder with libtensorflow_cc.so.2 and libtensorflow_framework.so.2 to use your own.";

const exists = (path) => access(path).then(() => true, () => false);

/** Runs a program quietly; resolves to its exit code and the end of what it said. */
function run(program, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    let said = "";
    const keep = (chunk) => (said = (said + chunk).slice(-2000));
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", (error) => resolve({ code: 127, said: error.message }));
    child.on("close", (code) => resolve({ code: code ?? 1, said }));
  });
}

/** Members of a zip archive by name, from its central directory (ZIP64 included). */
async function readDirectory(file, size) {
  const tail = Buffer.alloc(Math.min(size, 66_000));
  await file.read(tail, 0, tail.length, size - tail.length);
  const end = tail.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  if (end < 0) throw new Error("the wheel is not a zip archive");
  let count = tail.readUInt16LE(end + 10);
  let length = tail.readUInt32LE(end + 12);
  let start = tail.readUInt32LE(end + 16);
  const locator = tail.lastIndexOf(Buffer.from("PK\x06\x07", "latin1"));
  if (start === 0xffffffff && locator >= 0) {
    const record = Buffer.alloc(56);
    await file.read(record, 0, 56, Number(tail.readBigUInt64LE(locator + 8)));
    count = Number(record.readBigUInt64LE(32));
    length = Number(record.readBigUInt64LE(40));
    start = Number(record.readBigUInt64LE(48));
  }
  const directory = Buffer.alloc(length);
  await file.read(directory, 0, length, start);
  const members = new Map();
  for (let at = 0, i = 0; i < count; i++) {
    const nameLength = directory.readUInt16LE(at + 28);
    members.set(directory.toString("utf8", at + 46, at + 46 + nameLength), {
      method: directory.readUInt16LE(at + 10),
      packed: directory.readUInt32LE(at + 20),
      size: directory.readUInt32LE(at + 24),
      offset: directory.readUInt32LE(at + 42),
    });
    at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return members;
}

/** Unpacks one member, streaming, and checks its size. */
async function extract(file, member, target) {
  const header = Buffer.alloc(30);
  await file.read(header, 0, 30, member.offset);
  const start = member.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  const source = file.createReadStream({ start, end: start + member.packed - 1, autoClose: false, highWaterMark: 1 << 20 });
  let written = 0;
  const counter = new Transform({
    transform(chunk, _encoding, done) {
      written += chunk.length;
      done(null, chunk);
    },
  });
  const unpack = member.method === 8 ? [createInflateRaw({ chunkSize: 1 << 20 })] : [];
  await pipeline(source, ...unpack, counter, createWriteStream(target));
  if (written !== member.size) throw new Error(`${basename(target)} has ${written} bytes, the wheel promises ${member.size}`);
}

async function unpackWheel(wheel, folder, log) {
  const file = await open(wheel, "r");
  try {
    const members = await readDirectory(file, (await file.stat()).size);
    await mkdir(join(folder, "tensorflow"), { recursive: true });
    for (const name of MEMBERS) {
      const member = members.get(name);
      if (!member && REQUIRED.includes(name)) throw new Error(`the wheel lacks ${name}`);
      if (!member) continue;
      log(`unpacking ${basename(name)} (${Math.round(member.size / 1e6)} MB) …`);
      await extract(file, member, join(folder, name));
    }
  } finally {
    await file.close();
  }
}

/**
 * Makes sure that a TensorFlow library is in the workspace's cache.
 *
 * @param {{ root: string, log: (text: string) => void }} options Workspace folder, and where progress goes.
 * @returns {Promise<{ ok: boolean, folder?: string, message: string }>}
 */
export async function fetchTensorFlow({ root, log }) {
  const cache = join(root, ".cache", "tensorflow");
  const name = `tensorflow-${VERSION}-cpu`;
  const final = join(cache, name);
  if (await exists(join(final, ".complete"))) return { ok: true, folder: final, message: `TensorFlow ${VERSION} is in place` };
  const without = (reason) => ({ ok: false, message: `no native TensorFlow (${reason}); everything works on wasm, slower. ${MANUAL}` });
  if (process.env.DRAMASCOPE_SETUP_TENSORFLOW === "off") return without("declined by DRAMASCOPE_SETUP_TENSORFLOW=off");
  if (process.env.DRAMASCOPE_LIBTENSORFLOW) return { ok: true, message: "DRAMASCOPE_LIBTENSORFLOW names a TensorFlow" };
  if (process.env.DRAMASCOPE_TENSORFLOW === "wasm") return { ok: true, message: "DRAMASCOPE_TENSORFLOW=wasm asks for none" };
  if (process.platform !== "linux" || process.arch !== "x64") return without(`a library is known for Linux x86-64 only, this is ${process.platform} ${process.arch}`);
  if ((await run("python3", ["-m", "pip", "--version"])).code !== 0) return without("python3 with pip, which downloads it, was not found");
  await mkdir(cache, { recursive: true });
  // What an interrupted run left behind; a live one of another process is younger.
  for (const entry of await readdir(cache)) if (entry.startsWith(".tmp-")) await rm(join(cache, entry), { recursive: true, force: true });
  const temporary = await mkdtemp(join(cache, ".tmp-"));
  try {
    await chmod(temporary, 0o755);
    log(`downloading TensorFlow ${VERSION} with pip (274 MB; 855 MB on disk; DRAMASCOPE_SETUP_TENSORFLOW=off declines) …`);
    const download = ["-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--python-version", "311", "--platform", "manylinux_2_27_x86_64", "-d", temporary, `tensorflow-cpu==${VERSION}`];
    const { code, said } = await run("python3", download);
    if (code !== 0) return without(`pip could not download it: ${said.trim().split("\n").at(-1) ?? `exit code ${code}`}`);
    const wheel = (await readdir(temporary)).find((entry) => entry.endsWith(".whl"));
    if (!wheel) return without("pip downloaded no wheel");
    const unpacked = join(temporary, name);
    await unpackWheel(join(temporary, wheel), unpacked, log);
    await writeFile(join(unpacked, ".complete"), `${VERSION}\n`);
    await rename(unpacked, final).catch(async (error) => {
      if (!(await exists(join(final, ".complete")))) throw error;
    });
    log(`TensorFlow ${VERSION} is in place`);
    return { ok: true, folder: final, message: `TensorFlow ${VERSION} is in place` };
  } catch (error) {
    return without(error.message);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
