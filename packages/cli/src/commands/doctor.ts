import { existsSync } from "node:fs";
import { bfloat16Support, loadTensorFlow, TensorFlowError, type Bfloat16Support, type LoadedTensorFlow } from "@dramascope/tensorflow";
import { findFfmpeg } from "@dramascope/video";
import type { Command } from "commander";
import { defineCommand, type CliIo, type SetExitCode } from "../context.ts";

/** What the command found on a machine. */
export interface Findings {
  node: string;
  /** The TensorFlow in use, or why the one that was asked for is none. */
  tensorflow: (Omit<LoadedTensorFlow, "tf"> & { bfloat16: Bfloat16Support }) | TensorFlowError;
  /** The ffmpeg in use, or why there is none. */
  ffmpeg: Pick<Awaited<ReturnType<typeof findFfmpeg>>, "version" | "source" | "canToneMap" | "canDecodeAv1"> | Error;
  /** Path of a browser. */
  chromium: string | undefined;
  hasGpuDriver: boolean;
  /** What this process may still take. */
  freeBytes: number;
}

type Row = [name: string, value: string];

function tensorflowRows(tensorflow: Findings["tensorflow"]): Row[] {
  if (tensorflow instanceof Error) return [["TensorFlow", `unusable: ${tensorflow.message}`]];
  const { diagnostics, backend, binding, version, device, bfloat16 } = tensorflow;
  const { usable, fast, speedup } = bfloat16;
  return [
    ...diagnostics.candidates.map(({ where, outcome, reason }): Row => [`TensorFlow: ${where}`, reason === undefined ? outcome.replace("-", " ") : `${outcome.replace("-", " ")}: ${reason}`]),
    ["TensorFlow in use", `${version} on ${backend} (${binding ?? "TensorFlow.js"}, ${device})`],
    ["threads", String(diagnostics.threads)],
    ["oneDNN", diagnostics.oneDnn],
    ["bfloat16", usable ? `products take ${(1 / speedup).toFixed(2)} of float32's time${fast ? "" : ": too slow to pay on this processor"}` : "not on this back end"],
  ];
}

/** What would make things better, most useful first. */
function adviceFor({ tensorflow, ffmpeg, hasGpuDriver }: Findings): string[] {
  const advice: string[] = [];
  if (tensorflow instanceof Error) advice.push(tensorflow.hint ?? "unset DRAMASCOPE_LIBTENSORFLOW");
  else {
    if (tensorflow.backend === "wasm") advice.push("a native TensorFlow is several times as fast: node tools/setup.mjs in the workspace, or pip install tensorflow-cpu");
    else if (hasGpuDriver && tensorflow.device === "cpu") advice.push("the GPU is not used: node tools/fetch-tensorflow.mjs --cuda in the workspace, or pip install tensorflow[and-cuda]");
    if (tensorflow.diagnostics.candidates.some(({ reason }) => reason === "others can write to it")) advice.push("native code is loaded only from where nobody else can write: chmod -R go-w the refused folder and those above it that are yours");
    if (tensorflow.diagnostics.oneDnn === "off") advice.push("products are slower without oneDNN: unset TF_ENABLE_ONEDNN_OPTS");
  }
  if (ffmpeg instanceof Error) advice.push("without ffmpeg no frames can be cut: apt install ffmpeg, or npm install ffmpeg-static");
  return advice;
}

/** The findings as aligned lines, one a finding. */
export function describeFindings(findings: Findings): string {
  const { node, tensorflow, ffmpeg, chromium, freeBytes } = findings;
  const rows: Row[] = [
    ["Node.js", node],
    ...tensorflowRows(tensorflow),
    ["ffmpeg", ffmpeg instanceof Error ? `missing: ${ffmpeg.message}` : `${ffmpeg.version} from ${ffmpeg.source}${ffmpeg.canToneMap ? "" : "; without zscale, so HDR films keep their raw colours"}${ffmpeg.canDecodeAv1 ? "" : "; cannot decode AV1"}`],
    ["browser for page tests", chromium ?? "missing: install chromium, or set DRAMASCOPE_CHROMIUM"],
    ["free memory", `${(freeBytes / 1e9).toFixed(1)} GB`],
    ...adviceFor(findings).map((advice): Row => ["to do", advice]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("");
}

async function inspectTensorFlow(): Promise<Findings["tensorflow"]> {
  try {
    const { tf, ...rest } = await loadTensorFlow();
    return { ...rest, bfloat16: await bfloat16Support(tf) };
  } catch (error) {
    if (error instanceof TensorFlowError) return error;
    throw error;
  }
}

/** `dramascope doctor` */
export function addDoctor(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand(program, io, setExitCode, {
    name: "doctor",
    summary: "what is here, what is missing, what to do",
    example: "dramascope doctor",
    run: async () => {
      const findings: Findings = {
        node: process.version,
        tensorflow: await inspectTensorFlow(),
        ffmpeg: await findFfmpeg().catch((error: unknown) => error as Error),
        chromium: [io.env["DRAMASCOPE_CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => path !== undefined && existsSync(path)),
        hasGpuDriver: existsSync("/proc/driver/nvidia/version"),
        freeBytes: process.availableMemory(),
      };
      const { node, tensorflow, ffmpeg, chromium, freeBytes } = findings;
      const problem = [tensorflow, ffmpeg].find((found) => found instanceof Error);
      return {
        json: {
          node,
          tensorflow: tensorflow instanceof Error ? { error: { code: tensorflow.code, message: tensorflow.message } } : { ...tensorflow.diagnostics, ...tensorflow, diagnostics: undefined },
          ffmpeg: ffmpeg instanceof Error ? null : ffmpeg,
          chromium: chromium ?? null,
          freeBytes,
          advice: adviceFor(findings),
        },
        text: describeFindings(findings),
        ...(problem ? { exitCode: 4 as const } : {}),
      };
    },
  });
}
