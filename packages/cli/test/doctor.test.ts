import { TensorFlowError } from "@dramascope/tensorflow";
import { describe, expect, it } from "vitest";
import { describeFindings, type Findings } from "../src/commands/doctor.ts";
import { run, start } from "./cli.ts";

const whole: Findings = {
  node: "v24.0.0",
  tensorflow: {
    backend: "tensorflow",
    binding: "koffi",
    version: "2.21.0",
    device: "cpu",
    bfloat16: { usable: true, fast: true, speedup: 4 },
    diagnostics: {
      candidates: [
        { binding: "addon", where: "@tensorflow/tfjs-node", outcome: "missing", reason: "the package is not installed" },
        { binding: "koffi", where: "/project/.cache/tensorflow/tensorflow-2.21.0-cuda12/tensorflow", outcome: "refused", reason: "it sees no GPU" },
        { binding: "koffi", where: "/project/.cache/tensorflow/tensorflow-2.21.0-cpu/tensorflow", outcome: "chosen" },
        { binding: "koffi", where: "python3's TensorFlow", outcome: "not-tried" },
        { binding: "wasm", where: "@tensorflow/tfjs-backend-wasm", outcome: "not-tried" },
      ],
      logLines: [],
      threads: 8,
      oneDnn: "on",
    },
  },
  ffmpeg: { version: "7.1", source: "PATH", canToneMap: true, canDecodeAv1: true },
  chromium: "/usr/bin/chromium",
  hasGpuDriver: false,
  freeBytes: 22.04e9,
};
const tensorflow = whole.tensorflow as Exclude<Findings["tensorflow"], Error>;

describe("doctor", () => {
  it("shows a machine where nothing is missing", () => {
    expect(describeFindings(whole)).toMatchInlineSnapshot(`
      "Node.js                                                                     v24.0.0
      TensorFlow: @tensorflow/tfjs-node                                           missing: the package is not installed
      TensorFlow: /project/.cache/tensorflow/tensorflow-2.21.0-cuda12/tensorflow  refused: it sees no GPU
      TensorFlow: /project/.cache/tensorflow/tensorflow-2.21.0-cpu/tensorflow     chosen
      TensorFlow: python3's TensorFlow                                            not tried
      TensorFlow: @tensorflow/tfjs-backend-wasm                                   not tried
      TensorFlow in use                                                           2.21.0 on tensorflow (koffi, cpu)
      threads                                                                     8
      oneDNN                                                                      on
      bfloat16                                                                    products take 0.25 of float32's time
      ffmpeg                                                                      7.1 from PATH
      browser for page tests                                                      /usr/bin/chromium
      free memory                                                                 22.0 GB
      "
    `);
  });

  it("says what to do where things are missing", () => {
    const poor: Findings = {
      ...whole,
      tensorflow: {
        ...tensorflow,
        backend: "wasm",
        binding: null,
        version: "4.22.0",
        bfloat16: { usable: false, fast: false, speedup: 0 },
        diagnostics: { candidates: [{ binding: "koffi", where: ".cache/tensorflow", outcome: "missing", reason: "nothing was fetched there" }, { binding: "wasm", where: "@tensorflow/tfjs-backend-wasm", outcome: "chosen" }], logLines: [], threads: 1, oneDnn: "none" },
      },
      ffmpeg: new Error("no usable ffmpeg was found"),
      chromium: undefined,
    };
    expect(describeFindings(poor)).toMatchInlineSnapshot(`
      "Node.js                                    v24.0.0
      TensorFlow: .cache/tensorflow              missing: nothing was fetched there
      TensorFlow: @tensorflow/tfjs-backend-wasm  chosen
      TensorFlow in use                          4.22.0 on wasm (TensorFlow.js, cpu)
      threads                                    1
      oneDNN                                     none
      bfloat16                                   not on this back end
      ffmpeg                                     missing: no usable ffmpeg was found
      browser for page tests                     missing: install chromium, or set DRAMASCOPE_CHROMIUM
      free memory                                22.0 GB
      to do                                      a native TensorFlow is several times as fast: node tools/setup.mjs in the workspace, or pip install tensorflow-cpu
      to do                                      without ffmpeg no frames can be cut: apt install ffmpeg, or npm install ffmpeg-static
      "
    `);
  });

  it("names a GPU that is not used, kernels that are off and bfloat16 that does not pay", () => {
    const slow: Findings = { ...whole, hasGpuDriver: true, tensorflow: { ...tensorflow, bfloat16: { usable: true, fast: false, speedup: 0.8 }, diagnostics: { ...tensorflow.diagnostics, candidates: [], oneDnn: "off" } } };
    expect(describeFindings(slow)).toMatchInlineSnapshot(`
      "Node.js                 v24.0.0
      TensorFlow in use       2.21.0 on tensorflow (koffi, cpu)
      threads                 8
      oneDNN                  off
      bfloat16                products take 1.25 of float32's time: too slow to pay on this processor
      ffmpeg                  7.1 from PATH
      browser for page tests  /usr/bin/chromium
      free memory             22.0 GB
      to do                   the GPU is not used: node tools/fetch-tensorflow.mjs --cuda in the workspace, or pip install tensorflow[and-cuda]
      to do                   products are slower without oneDNN: unset TF_ENABLE_ONEDNN_OPTS
      "
    `);
  });

  it("says what to do about a library that others could have put there", () => {
    const refused: Findings = { ...whole, tensorflow: { ...tensorflow, diagnostics: { ...tensorflow.diagnostics, candidates: [{ binding: "koffi", where: "/shared/.cache/tensorflow", outcome: "refused", reason: "others can write to it" }] } } };
    expect(describeFindings(refused)).toMatch(/TensorFlow: \/shared\/\.cache\/tensorflow +refused: others can write to it\n[^]*to do +native code is loaded only from where nobody else can write: chmod -R go-w /u);
  });

  it("reports an unusable TensorFlow that was asked for as a finding", () => {
    const unusable = new TensorFlowError("DRAMASCOPE_LIBTENSORFLOW=/nowhere: the path does not exist", { code: "TENSORFLOW_UNUSABLE", hint: "Point it elsewhere." });
    expect(describeFindings({ ...whole, tensorflow: unusable })).toMatch(/TensorFlow +unusable: DRAMASCOPE_LIBTENSORFLOW=\/nowhere: the path does not exist\n[^]*to do +Point it elsewhere\.\n$/u);
  });

  it("looks at this machine, whose places are named with paths and whose choice computes", async () => {
    const { code, stdout } = await run("doctor");
    expect(code).toBe(0);
    const names = stdout.trimEnd().split("\n").map((line) => line.split(/ {2,}/u)[0]!);
    const withoutPlaces = names.filter((name) => !name.startsWith("TensorFlow: ") && name !== "to do");
    expect(withoutPlaces).toEqual(["Node.js", "TensorFlow in use", "threads", "oneDNN", "bfloat16", "ffmpeg", "browser for page tests", "free memory"]);
    expect(names).toContain("TensorFlow: @tensorflow/tfjs-backend-wasm");
    const { tensorflow: found, freeBytes, advice } = JSON.parse((await run("doctor", "--json")).stdout) as { tensorflow: Record<string, unknown>; freeBytes: number; advice: string[] };
    expect(found).toMatchObject({ threads: expect.any(Number) as number, oneDnn: expect.stringMatching(/^(?:on|off|none)$/u) as string, bfloat16: { usable: expect.any(Boolean) as boolean } });
    expect(freeBytes).toBeGreaterThan(1e6);
    expect(Array.isArray(advice)).toBe(true);
  });

  it("ends with 4 when what was asked for is unusable", async () => {
    process.env["DRAMASCOPE_LIBTENSORFLOW"] = "/nowhere";
    try {
      const { code, stdout } = await start(["doctor", "--json"]).done;
      expect(JSON.parse(stdout)).toMatchObject({ tensorflow: { error: { code: "TENSORFLOW_UNUSABLE" } } });
      expect(code).toBe(4);
    } finally {
      delete process.env["DRAMASCOPE_LIBTENSORFLOW"];
    }
  });
});
