import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { makeWorkload } from "./peers/rewards/workload.mjs";

const FOLDER = fileURLToPath(new URL("../../.cache/peers/rewards/", import.meta.url));
const PEER = fileURLToPath(new URL("./peers/rewards/", import.meta.url));

function hasPeer(python: string): boolean {
  try {
    execFileSync(python, ["-c", "import rouge_score.rouge_scorer, scipy.optimize"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** A Python that has rouge_score and scipy: the system's, or one of our own. */
function findPython(mayInstall: boolean, say: (text: string) => void): string | null {
  const own = `${FOLDER}bin/python`;
  const found = [own, "python3"].find(hasPeer);
  if (found !== undefined || !mayInstall) return found ?? null;
  say("making a Python environment under .cache/peers/rewards");
  if (!existsSync(own)) execFileSync("python3", ["-m", "venv", FOLDER], { stdio: "inherit" });
  execFileSync(own, ["-m", "pip", "install", "--quiet", "-r", `${PEER}requirements.txt`], { stdio: ["ignore", 2, 2] });
  return own;
}

/** CPU microseconds a completion of rouge_score with scipy; null when they are not here. */
export function pythonMicroseconds(script: "ascii" | "cjk", tokenizer: string, { mayInstall, repeats, say }: { mayInstall: boolean; repeats: number; say: (text: string) => void }): number | null {
  const python = findPython(mayInstall, say);
  if (python === null) return null;
  const output = execFileSync(python, [`${PEER}python_peer.py`, String(repeats), tokenizer], { input: JSON.stringify(makeWorkload(4, 7, script)), encoding: "utf8" });
  return (JSON.parse(output) as { us: number }).us;
}
