import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fetchTensorFlow, setUpTensorFlow } from "../fetch-tensorflow.mjs";
import { smallWheel, type WheelMember } from "./small-wheel.ts";

/** Stands for Python with pip: "downloads" what lies beside it, and writes down what it was asked for. */
const PYTHON = `#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/asked"
case "$3" in
  --version) exit 0 ;;
  download) while [ "$1" != -d ]; do shift; done; test -e "$here/$3.whl" || { echo "ERROR: no matching distribution for $3" >&2; exit 1; }; cp "$here/$3.whl" "$2" ;;
  install) while [ "$1" != --target ]; do shift; done; target=$2; shift 2; mkdir -p "$target/nvidia"; for one in "$@"; do : > "$target/nvidia/$one"; done ;;
esac
`;

const members: WheelMember[] = [
  { name: "tensorflow/libtensorflow_framework.so.2", text: "framework ".repeat(100) },
  { name: "tensorflow/libtensorflow_cc.so.2", text: "cc ".repeat(500) },
  { name: "tensorflow/THIRD_PARTY_NOTICES.txt", text: "notices" },
  { name: "tensorflow-2.21.0.dist-info/METADATA", text: 'Name: tensorflow\nRequires-Dist: numpy>=1\nRequires-Dist: nvidia-one<13,>=12.5; extra == "and-cuda"\nRequires-Dist: nvidia-two; extra == "and-cuda"\n' },
];

let root: string;
let programs: string;
let path: string;
let said: string[];
const log = (text: string): void => void said.push(text);
const cache = (): string => join(root, ".cache", "tensorflow");
const offer = (requirement: string, wheel = members): void => writeFileSync(join(programs, `${requirement}.whl`), smallWheel(wheel));
const asked = (): string[] => (existsSync(join(programs, "asked")) ? readFileSync(join(programs, "asked"), "utf8").trimEnd().split("\n") : []);

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "dramascope-fetch-"));
  programs = join(root, "bin");
  mkdirSync(programs);
  writeFileSync(join(programs, "python3"), PYTHON);
  chmodSync(join(programs, "python3"), 0o755);
  path = process.env["PATH"]!;
  process.env["PATH"] = `${programs}:${path}`;
  said = [];
});
afterEach(() => {
  process.env["PATH"] = path;
  rmSync(root, { recursive: true });
});

describe("fetching TensorFlow", () => {
  it("unpacks the libraries once and leaves nothing else", async () => {
    offer("tensorflow-cpu==2.21.0");
    const fetched = await fetchTensorFlow({ root, log });
    const folder = join(cache(), "tensorflow-2.21.0-cpu");
    expect(fetched).toMatchObject({ ok: true, folder });
    expect(readdirSync(cache())).toEqual(["tensorflow-2.21.0-cpu"]);
    expect(readdirSync(folder).sort()).toEqual([".complete", "tensorflow"]);
    for (const { name, text } of members.slice(0, 3)) expect(readFileSync(join(folder, name), "utf8")).toBe(text);
    const before = asked().length;
    said = [];
    expect(await fetchTensorFlow({ root, log })).toEqual(fetched);
    expect([asked().length, said]).toEqual([before, []]);
  });

  it("puts the CUDA build and the packages that it names side by side", async () => {
    offer("tensorflow==2.21.0");
    expect(await fetchTensorFlow({ root, log, build: "cuda" })).toMatchObject({ ok: true });
    const folder = join(cache(), "tensorflow-2.21.0-cuda12");
    expect(readdirSync(folder).sort()).toEqual([".complete", "nvidia", "tensorflow"]);
    expect(readdirSync(join(folder, "nvidia")).sort()).toEqual(["nvidia-one<13,>=12.5", "nvidia-two"]);
    expect(asked().at(-1)).toContain("install -q --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all:");
  });

  it.each<[string, WheelMember[], string]>([
    ["a library shorter than the wheel promises", [{ ...members[0]!, promised: 1001 }, ...members.slice(1)], "libtensorflow_framework.so.2 has 1000 bytes, the wheel promises 1001"],
    ["a wheel without a library", members.slice(1), "the wheel lacks tensorflow/libtensorflow_framework.so.2"],
  ])("refuses %s and leaves nothing", async (_case, wheel, reason) => {
    offer("tensorflow-cpu==2.21.0", wheel);
    expect(await fetchTensorFlow({ root, log })).toMatchObject({ ok: false, message: expect.stringContaining(reason) as string });
    expect(readdirSync(cache())).toEqual([]);
  });

  it("says in one sentence what is missing, and what else can be done", async () => {
    expect(await fetchTensorFlow({ root, log })).toMatchObject({ ok: false, message: expect.stringContaining("pip could not download it: ERROR: no matching distribution") as string });
    process.env["PATH"] = "/nonexistent";
    const { ok, message } = await fetchTensorFlow({ root, log });
    expect([ok, message]).toEqual([false, expect.stringMatching(/python3 with pip, which downloads it, was not found\).*DRAMASCOPE_LIBTENSORFLOW/u)]);
  });

  it("removes what a run that was killed left behind, not what another one is at", async () => {
    offer("tensorflow-cpu==2.21.0");
    const [dead, alive] = [2 ** 22 + 1, process.pid].map((pid) => `.tmp-${pid}-abc`);
    for (const name of [dead!, alive!]) mkdirSync(join(cache(), name), { recursive: true });
    await fetchTensorFlow({ root, log });
    expect(readdirSync(cache()).sort()).toEqual([alive, "tensorflow-2.21.0-cpu"]);
  });

  it("keeps the libraries where the addon cannot be built, and says what that needs", async () => {
    offer("tensorflow-cpu==2.21.0");
    expect(await fetchTensorFlow({ root, log, addon: true })).toMatchObject({ ok: false, message: expect.stringContaining("is in place, but the addon was not built: @tensorflow/tfjs-node-gpu, whose sources it is made of, is not installed") as string });
    mkdirSync(join(root, "node_modules", "@tensorflow", "tfjs-node-gpu", "binding"), { recursive: true });
    expect(await fetchTensorFlow({ root, log, addon: true })).toMatchObject({ ok: false, message: expect.stringContaining("npm install node-api-headers") as string });
    expect(await fetchTensorFlow({ root, log })).toMatchObject({ ok: true });
  });
});

describe("setting up", () => {
  const setUp = (hasGpu: boolean, env: Record<string, string> = {}) => setUpTensorFlow({ root, log, hasGpu, env });

  it.each([
    [false, {}, "cpu"],
    [true, {}, "cuda12"],
    [true, { DRAMASCOPE_SETUP_TENSORFLOW: "cpu" }, "cpu"],
    [false, { DRAMASCOPE_SETUP_TENSORFLOW: "cuda" }, "cuda12"],
  ])("chooses the build: GPU %s, %j", async (hasGpu, env, suffix) => {
    offer("tensorflow-cpu==2.21.0");
    offer("tensorflow==2.21.0");
    expect(await setUp(hasGpu, env)).toMatchObject({ ok: true, folder: join(cache(), `tensorflow-2.21.0-${suffix}`) });
  });

  it("takes the CPU build where that for the GPU cannot be had", async () => {
    offer("tensorflow-cpu==2.21.0");
    expect(await setUp(true)).toMatchObject({ ok: true, folder: join(cache(), "tensorflow-2.21.0-cpu") });
    expect(said.some((text) => text.includes("no matching distribution for tensorflow==2.21.0"))).toBe(true);
  });

  it.each([
    [{ DRAMASCOPE_SETUP_TENSORFLOW: "off" }, false],
    [{ DRAMASCOPE_LIBTENSORFLOW: "/own" }, true],
    [{ DRAMASCOPE_TENSORFLOW: "wasm" }, true],
  ])("fetches nothing where the environment says so: %j", async (env, ok) => {
    expect(await setUp(true, env)).toMatchObject({ ok, message: expect.stringContaining(Object.keys(env)[0]!) as string });
    expect(asked()).toEqual([]);
  });
});
