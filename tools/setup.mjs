#!/usr/bin/env node
/**
 * Makes the workspace ready and then runs what was asked for. Node built-ins only, any Node from 18 on; a no-op when nothing changed.
 *
 *   node tools/setup.mjs [--browser] [--run FILE.ts [args…] | --run-bin NAME [args…]]
 *
 * DRAMASCOPE_SETUP_TENSORFLOW=off and DRAMASCOPE_SETUP_BROWSER=off decline those parts; DRAMASCOPE_SETUP_TENSORFLOW=cpu or cuda chooses the build,
 * which is the one for CUDA where NVIDIA's driver is.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setUpTensorFlow } from "./fetch-tensorflow.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const modules = join(root, "node_modules");
const node = join(modules, "node", "bin", process.platform === "win32" ? "node.exe" : "node");
const stamp = join(modules, ".dramascope-setup");

const say = (text) => process.stderr.write(`set-up: ${text}\n`);
const fail = (text, status = 1) => {
  say(text);
  process.exit(status === 0 ? 1 : status);
};

/** Runs a program with this terminal; a signal gives 128 + its number, as in a shell. */
function run(program, args, options = {}) {
  const result = spawnSync(program, args, { stdio: "inherit", ...options });
  if (result.error) fail(`cannot start ${program}: ${result.error.message}`);
  return result.signal ? 128 + constants.signals[result.signal] : (result.status ?? 1);
}

const lockHash = () => createHash("sha256").update(readFileSync(join(root, "package-lock.json"))).digest("hex");

function packagesInstalled() {
  if (!existsSync(node)) return false;
  if (existsSync(stamp)) return readFileSync(stamp, "utf8") === lockHash();
  const hidden = join(modules, ".package-lock.json");
  return existsSync(hidden) && statSync(hidden).mtimeMs >= statSync(join(root, "package-lock.json")).mtimeMs;
}

function installPackages() {
  if (packagesInstalled()) return;
  say("installing the npm packages (npm ci, about a minute) …");
  const npm = process.env.npm_execpath;
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  const stdio = ["ignore", process.stderr, process.stderr];
  const status = npm ? run(process.execPath, [npm, ...args], { cwd: root, stdio }) : run("npm", args, { cwd: root, stdio, shell: process.platform === "win32" });
  if (status !== 0) fail("npm ci failed; its own message stands above.", status);
  if (!existsSync(node)) {
    fail("npm ci passed but node_modules/node holds no program: the install script of the package `node` was not allowed. Allow it (package.json, allowScripts) and run again.");
  }
  writeFileSync(stamp, lockHash());
}

/** The first browser that page tests can use. */
function findBrowser() {
  const named = process.env.DRAMASCOPE_CHROMIUM;
  if (named) return named;
  return ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));
}

function installBrowser() {
  if (findBrowser() || process.env.DRAMASCOPE_SETUP_BROWSER === "off") return;
  if (process.platform !== "linux" || process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) {
    say("no Chromium found: page tests will say so and pass over the browser part. Install chromium, or name one in DRAMASCOPE_CHROMIUM.");
    return;
  }
  say("installing Chromium for page tests (apt-get, about a minute) …");
  const options = { stdio: ["ignore", "ignore", "ignore"], env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  run("apt-get", ["update", "-qq"], options);
  const status = run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-noto-cjk"], options);
  if (status !== 0 || !findBrowser()) say("Chromium could not be installed: page tests will say so and pass over the browser part.");
}

const args = process.argv.slice(2);
const wantsBrowser = args[0] === "--browser";
if (wantsBrowser) args.shift();
const [mode, target, ...rest] = args;
if (mode !== undefined && (target === undefined || (mode !== "--run" && mode !== "--run-bin"))) {
  fail("usage: node tools/setup.mjs [--browser] [--run FILE.ts [args…] | --run-bin NAME [args…]]", 2);
}

installPackages();
const tensorFlow = await setUpTensorFlow({ root, log: say, hasGpu: existsSync("/proc/driver/nvidia/version") });
if (!tensorFlow.ok) say(tensorFlow.message);
if (wantsBrowser) installBrowser();

if (mode === undefined) {
  say("ready.");
} else {
  // Tools start with `#!/usr/bin/env node`: with .bin first on PATH they all run on the workspace's own Node.
  const env = { ...process.env, PATH: `${join(modules, ".bin")}${delimiter}${process.env.PATH ?? ""}` };
  process.exitCode =
    mode === "--run"
      ? run(node, ["--conditions=@dramascope/source", join(root, target), ...rest], { env })
      : run(join(modules, ".bin", target), rest, { env, cwd: root });
}
