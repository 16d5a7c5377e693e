import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../../.cache/peers/model/", import.meta.url));
const REQUIREMENTS = fileURLToPath(new URL("peers/model/requirements.txt", import.meta.url));

function hasPeer(python: string): boolean {
  try {
    execFileSync(python, ["-c", "import torch; from transformers import Qwen2_5_VLForConditionalGeneration"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** A Python that has torch and transformers: the one that `DRAMASCOPE_PYTHON` names, one of our own, or the system's; null when there is none. */
export function findPython(mayInstall: boolean, say: (text: string) => void): string | null {
  const own = `${FOLDER}bin/python`;
  const found = [process.env["DRAMASCOPE_PYTHON"], own, "python3"].find((python) => python !== undefined && hasPeer(python));
  if (found !== undefined || !mayInstall) return found ?? null;
  say("making a Python environment under .cache/peers/model, about 6 GB");
  if (!existsSync(own)) execFileSync("python3", ["-m", "venv", FOLDER], { stdio: "inherit" });
  execFileSync(own, ["-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], { stdio: ["ignore", 2, 2] });
  return own;
}
