import { freemem } from "node:os";
import { existsSync } from "node:fs";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { findFfmpeg } from "@dramascope/video";
import type { Command } from "commander";
import { defineCommand, type CliIo, type SetExitCode } from "../context.ts";

/** `dramascope doctor` */
export function addDoctor(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand(program, io, setExitCode, {
    name: "doctor",
    summary: "what is here, what is missing, what to do",
    example: "dramascope doctor",
    run: async () => {
      const tensorflow = await loadTensorFlow();
      const ffmpeg = await findFfmpeg().catch((error: unknown) => error as Error);
      const chromium = [io.env["DRAMASCOPE_CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => path !== undefined && existsSync(path));
      const rows = [
        ["Node.js", process.version],
        ...tensorflow.diagnostics.candidates.map(({ where, outcome, reason }) => [`TensorFlow: ${where}`, reason === undefined ? outcome : `${outcome}: ${reason}`]),
        ["TensorFlow in use", `${tensorflow.version} on ${tensorflow.backend} (${tensorflow.binding ?? "TensorFlow.js"}, ${tensorflow.device})`],
        ["ffmpeg", ffmpeg instanceof Error ? `missing: ${ffmpeg.message}` : `${ffmpeg.version} from ${ffmpeg.source}${ffmpeg.canToneMap ? "" : "; without zscale, so HDR films keep their raw colours"}${ffmpeg.canDecodeAv1 ? "" : "; cannot decode AV1"}`],
        ["browser for page tests", chromium ?? "missing: install chromium, or set DRAMASCOPE_CHROMIUM"],
        ["free memory", `${(freemem() / 1e9).toFixed(1)} GB`],
        ...(tensorflow.backend === "wasm" ? [["to do", "a native TensorFlow is five times as fast: node tools/setup.mjs in the workspace, or pip install tensorflow-cpu"]] : []),
      ] as [string, string][];
      const width = Math.max(...rows.map(([name]) => name.length));
      return {
        json: { node: process.version, tensorflow: { ...tensorflow.diagnostics, backend: tensorflow.backend, version: tensorflow.version, device: tensorflow.device }, ffmpeg: ffmpeg instanceof Error ? null : ffmpeg, chromium: chromium ?? null },
        text: rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join(""),
        ...(ffmpeg instanceof Error ? { exitCode: 4 as const } : {}),
      };
    },
  });
}
