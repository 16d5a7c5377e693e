import { planPull, pullModel, type PullPlan } from "@dramascope/qwen-vl";
import { Command } from "commander";
import { defineCommand, usageError, type CliIo, type SetExitCode } from "../context.ts";

const HUB = "https://huggingface.co";

interface PullFlags {
  revision: string;
  out?: string;
  endpoint: string;
  tokenEnv?: string;
  plan?: boolean;
  verify?: boolean;
}

const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** "7.5 GB" */
function inUnits(bytes: number): string {
  const step = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${(bytes / 1000 ** step).toFixed(step === 0 ? 0 : 1)} ${UNITS[step]!}`;
}

function planLine({ repo, commit, files, folder, bytes, presentBytes, freeBytes }: PullPlan): string {
  return `${repo} at ${commit.slice(0, 12)}: ${files.length} files, ${inUnits(bytes)}; ${inUnits(bytes - presentBytes)} to fetch into ${folder}, whose disk has ${inUnits(freeBytes)} free`;
}

/** The token of the named variable. `HF_TOKEN` counts unasked for the hub it is made for, and for no other server. */
function tokenOf({ tokenEnv, endpoint }: PullFlags, env: CliIo["env"]): string | undefined {
  const name = tokenEnv ?? (endpoint === HUB ? "HF_TOKEN" : undefined);
  if (name === undefined) return undefined;
  const token = Object.hasOwn(env, name) ? env[name]?.trim() : undefined;
  if (token !== undefined && token !== "") return token;
  if (tokenEnv !== undefined) throw usageError(`--token-env names ${JSON.stringify(tokenEnv)}, which is not set`, "Set the variable, or leave the option out.");
  return undefined;
}

/** `dramascope model pull` */
export function addModel(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  const group = new Command("model").description("checkpoints of Qwen2.5-VL");
  defineCommand<PullFlags>(group, io, setExitCode, {
    name: "pull",
    summary: "fetch a checkpoint from a Hugging Face hub, or go on with one",
    example: "dramascope model pull Qwen/Qwen2.5-VL-3B-Instruct --out models/qwen2.5-vl-3b",
    configure: (command) =>
      command
        .argument("<repo>", "OWNER/NAME of a model repository")
        .option("--revision <name>", "branch, tag or commit", "main")
        .option("--out <dir>", "folder of the checkpoint; default the repository's own name")
        .option("--endpoint <url>", "another hub; https, or http on this machine", HUB)
        .option("--token-env <name>", `environment variable with a token; default HF_TOKEN, for ${HUB} only`)
        .option("--verify", "read a complete folder again and compare every hash; else only files written to since")
        .option("--plan", "say what would be fetched, fetch nothing"),
    run: async ({ say, progress, signal }, flags, [repo]) => {
      const { revision, out, endpoint, plan: isPlan, verify = false } = flags;
      const options = { revision, endpoint, verify, token: tokenOf(flags, io.env), signal, onProgress: progress, ...(out === undefined ? {} : { out }) };
      if (isPlan) {
        const plan = await planPull(repo!, options);
        return { json: { ...plan }, text: `${planLine(plan)}\n` };
      }
      const result = await pullModel(repo!, { ...options, onPlan: (plan) => say(planLine(plan)) });
      say(result.fetchedBytes === 0 ? `${result.folder} is complete${verify ? ", every hash is right" : ""}, nothing was fetched` : `${result.folder} is complete, ${inUnits(result.fetchedBytes)} were fetched`);
      return { json: { ...result } };
    },
  });
  program.addCommand(group);
}
