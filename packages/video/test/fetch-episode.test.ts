import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { decodeDrama } from "@dramascope/video";
import { describeUrl } from "../src/fetch/checked-url.ts";
import { fetchEpisode, type FetchOptions } from "../src/fetch/fetch-episode.ts";
import { makeFilm, SMALL } from "./real-ffmpeg.ts";
import { selfSigned } from "./self-signed.ts";

const SECRET = "canary-7f3a";
const EPISODE = Buffer.alloc(300_000, "episode ");
const { key, cert } = selfSigned(["episodes.test", "other.test"], [[127, 0, 0, 1]]);

let server: Server;
let base: string;
let temporaryFolder: string;
let asked: IncomingMessage[];
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeAll(async () => {
  server = createServer({ key, cert }, (request, response) => {
    asked.push(request);
    answer(request, response);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  base = `https://episodes.test:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(async () => {
  temporaryFolder = await mkdtemp(join(tmpdir(), "fetch-"));
  asked = [];
  answer = (_request, response) => response.end(EPISODE);
});

const local = (): FetchOptions => ({ ca: cert, temporaryFolder, allowAddress: (address) => address === "127.0.0.1", lookup: () => Promise.resolve(["127.0.0.1"]) });
const head = (status: number, headers: Record<string, string>) => (_request: IncomingMessage, response: ServerResponse): void => void response.writeHead(status, headers).end();

/** Fetches what must fail, and looks whether something stayed on the disk or the error tells a secret. */
async function refused(url: string, options: FetchOptions = local(), signal?: AbortSignal): Promise<{ code: string; message: string }> {
  const error: unknown = await fetchEpisode(url, options, signal).then(
    ({ path }) => Promise.reject(new Error(`fetched to ${path}`)),
    (reason: unknown) => reason,
  );
  const { code, message, stack, hint } = error as { code: string; message: string; stack: string; hint: string };
  expect(`${message}${stack}${hint}${JSON.stringify(error)}${inspect(error, { depth: null, showHidden: true })}`).not.toContain(SECRET);
  expect(hint).toMatch(/\.$/u);
  expect(await readdir(temporaryFolder)).toEqual([]);
  return { code, message };
}

it("decodes an address as the file that it is, and leaves nothing on the disk", async () => {
  const film = await readFile(await makeFilm(join(temporaryFolder, "film.mp4"), 3));
  await rm(join(temporaryFolder, "film.mp4"));
  answer = ({ url }, response) => response.end(url!.includes("cut") ? film.subarray(0, 3000) : film);
  const { episodes, failures } = await decodeDrama([{ path: `${base}/1.mp4?token=${SECRET}` }, { path: `${base}/cut.mp4?token=${SECRET}` }], { fetch: local(), strict: false, plan: SMALL });
  expect(episodes.map(({ labels, manifest }) => [labels, manifest.source.bytes])).toEqual([[[0, 1, 2, 2], film.length]]);
  expect(failures).toMatchObject([{ episode: 1, path: `${base}/cut.mp4`, error: { code: "VIDEO_CORRUPT" } }]);
  expect(inspect(failures, { depth: null, showHidden: true })).not.toContain(SECRET);
  expect(failures[0]!.error.message).not.toContain(temporaryFolder);
  expect(await readdir(temporaryFolder)).toEqual([]);
});

describe("fetchEpisode", () => {
  it("brings the file into a private folder, and takes it away again", async () => {
    const { path, bytes, remove } = await fetchEpisode(`${base}/a/episode%201.mp4?token=${SECRET}#part`, local());
    expect([bytes, (await readFile(path)).equals(EPISODE)]).toEqual([EPISODE.length, true]);
    expect([(await stat(join(path, ".."))).mode & 0o777, (await stat(path)).mode & 0o777]).toEqual([0o700, 0o600]);
    const { url, headers } = asked[0]!;
    expect([url, headers.host, headers["accept-encoding"], headers.cookie, headers.authorization, headers.referer]).toEqual([`/a/episode%201.mp4?token=${SECRET}`, new URL(base).host, "identity", undefined, undefined, undefined]);
    await remove();
    await remove();
    expect(await readdir(temporaryFolder)).toEqual([]);
  });

  it("reads an address in the URL, with the certificate of the address", async () => {
    const { bytes } = await fetchEpisode(base.replace("episodes.test", "127.0.0.1"), { ca: cert, temporaryFolder, allowAddress: () => true });
    expect(bytes).toBe(EPISODE.length);
  });

  it("resolves the name once and connects to the address that was checked", async () => {
    const answers = [["127.0.0.1"], ["10.0.0.1"]];
    const { bytes } = await fetchEpisode(base, { ...local(), lookup: () => Promise.resolve(answers.shift()!) });
    expect([bytes, answers]).toEqual([EPISODE.length, [["10.0.0.1"]]]);
  });

  it("follows redirects, three at most, and asks each host anew", async () => {
    const hosts: string[] = [];
    const lookup = (hostname: string): Promise<string[]> => (hosts.push(hostname), Promise.resolve(["127.0.0.1"]));
    answer = ({ url }, response) => {
      const next = ["/1", base.replace("episodes", "other") + "/2", "3"][asked.length - 1];
      if (next === undefined) response.end(url);
      else response.writeHead([301, 302, 307][asked.length - 1]!, { location: next, "set-cookie": "a=b" }).end("moved");
    };
    const { path, remove } = await fetchEpisode(`${base}/0`, { ...local(), lookup });
    expect([await readFile(path, "utf8"), hosts]).toEqual(["/3", ["episodes.test", "episodes.test", "other.test", "other.test"]]);
    expect(asked.map(({ headers }) => headers.cookie)).toEqual([undefined, undefined, undefined, undefined]);
    await remove();
    answer = head(302, { location: `/again?${SECRET}` });
    asked = [];
    expect((await refused(base)).code).toBe("VIDEO_PATH_REFUSED");
    expect(asked).toHaveLength(4);
  });

  it("takes no more than a server that says too little", async () => {
    answer = (_request, response) => {
      response.writeHead(200, { "content-length": "10" }).end("0123456789");
      response.socket?.write(EPISODE);
    };
    const { path } = await fetchEpisode(base, local());
    expect(await readFile(path, "utf8")).toBe("0123456789");
  });
});

describe("a URL", () => {
  const open = (): FetchOptions => ({ temporaryFolder });
  it.each([
    "http://episodes.test/a.mp4", "ftp://episodes.test/a.mp4", "file:///etc/passwd", "data:video/mp4;base64,AAAA", "javascript:alert(1)", "blob:https://episodes.test/x", "gopher://127.0.0.1:70/", "//episodes.test/a.mp4", "/etc/passwd", "a.mp4", "", "https://", "https://a b/",
    `https://user:${SECRET}@episodes.test/a.mp4`, `https://${SECRET}@episodes.test/`, `https://user:${SECRET}@a b/`, `user:${SECRET}@episodes.test/a.mp4`, `http://episodes.test/?${SECRET}`, `ftp://u:${SECRET}@episodes.test/?${SECRET}#${SECRET}`,
  ])("of another form is refused: %s", async (url) => {
    expect((await refused(url, { ...open(), lookup: () => Promise.reject(new Error("asked")) })).code).toBe("VIDEO_PATH_REFUSED");
  });

  it.each([
    "127.0.0.1", "2130706433", "0x7f000001", "017700000001", "0x7f.1", "127.1", "0", "0.0.0.0", "①②⑦.⓪.⓪.①", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:8.8.8.8]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2001:0:1::1]", "[ff02::1]",
  ])("at an address that is not public is refused: %s", async (host) => {
    expect((await refused(`https://${host}/latest?${SECRET}`, open())).code).toBe("VIDEO_PATH_REFUSED");
  });

  it("at a name of this machine is refused", async () => {
    expect((await refused("https://localhost/a.mp4", open())).code).toBe("VIDEO_PATH_REFUSED");
  });

  it.each([[["127.0.0.1"]], [["8.8.8.8", "10.0.0.1"]], [["::1"]], [["::ffff:10.0.0.1"]], [["fe80::1%eth0"]], [["8.8.8.8", "no address"]]])("whose name has the addresses %j is refused", async (addresses) => {
    expect((await refused(`https://episodes.test/?${SECRET}`, { ...open(), lookup: () => Promise.resolve(addresses) })).code).toBe("VIDEO_PATH_REFUSED");
    expect(asked).toEqual([]);
  });

  it("whose name has no address fails", async () => {
    expect((await refused("https://episodes.test/", { ...open(), lookup: () => Promise.resolve([]) })).code).toBe("VIDEO_FETCH_FAILED");
    expect((await refused(`https://nowhere.invalid/?${SECRET}`, open())).code).toBe("VIDEO_FETCH_FAILED");
  });

  it.each([
    ["http://episodes.test/", "http"], ["https://10.0.0.1/", "a private address"], ["https://[::ffff:127.0.0.1]/", "a mapped address"], ["https://2130706433:1/", "a number that is this machine's address"], ["file:///etc/passwd", "a file"],
    [`https://user:${SECRET}@episodes.test/`, "credentials"], ["https://rebound.test/", "a name with a private address"], ["https://", "nothing"],
  ])("is refused when it redirects to %s (%s)", async (location) => {
    answer = head(302, { location });
    const rules: FetchOptions = { ...local(), allowAddress: (address) => address === "127.0.0.1" && asked.length === 0, lookup: (hostname) => Promise.resolve([hostname === "rebound.test" ? "192.168.0.1" : "127.0.0.1"]) };
    expect((await refused(`${base}/?${SECRET}`, rules)).code).toBe("VIDEO_PATH_REFUSED");
    expect(asked).toHaveLength(1);
  });

  it("is named by origin and path only", () => {
    expect(describeUrl(`https://u:${SECRET}@a.test:8443/b/c.mp4?d=${SECRET}#${SECRET}`)).toBe("https://a.test:8443/b/c.mp4");
    expect([describeUrl(`u:${SECRET}@a.test`), describeUrl(`data:${SECRET}`), describeUrl(SECRET)]).toEqual(["u:…", "data:…", "(no URL)"]);
  });
});

describe("a server that", () => {
  const url = (): string => `${base}/a.mp4?token=${SECRET}#${SECRET}`;
  const failures: [string, (request: IncomingMessage, response: ServerResponse) => void, string, FetchOptions?][] = [
    ["answers 404", head(404, {}), "VIDEO_FETCH_FAILED"],
    ["answers 206", head(206, { "content-range": "bytes 0-0/1" }), "VIDEO_FETCH_FAILED"],
    ["answers 204", head(204, {}), "VIDEO_FETCH_FAILED"],
    ["answers 304", head(304, {}), "VIDEO_FETCH_FAILED"],
    ["redirects to nowhere", head(302, {}), "VIDEO_FETCH_FAILED"],
    ["repeats the secret in its answer", (_request, response) => response.socket?.end(`HTTP/1.1 200 ${SECRET}\r\nX: ${SECRET}\r\nContent-Length: ${SECRET}\r\n\r\n`), "VIDEO_FETCH_FAILED"],
    ["packs the file", head(200, { "content-encoding": "gzip" }), "VIDEO_FETCH_FAILED"],
    ["announces too much", head(200, { "content-length": "1001" }), "VIDEO_TOO_LARGE", { maxBytes: 1000 }],
    ["sends without end", (_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(EPISODE));
      };
      response.on("drain", more);
      more();
    }, "VIDEO_TOO_LARGE", { maxBytes: 1_000_000 }],
    ["is slow to answer", () => undefined, "VIDEO_TIMEOUT", { timeoutMs: 300 }],
    ["is slow to send", (_request, response) => void response.write("a"), "VIDEO_TIMEOUT", { timeoutMs: 300 }],
    ["sends less than announced", (_request, response) => {
      response.writeHead(200, { "content-length": "1000" });
      response.write("a", () => response.socket?.end());
    }, "VIDEO_FETCH_FAILED"],
    ["breaks off a file in chunks", (_request, response) => response.write("a", () => response.socket?.end()), "VIDEO_FETCH_FAILED"],
    ["hangs up", (_request, response) => response.socket?.destroy(), "VIDEO_FETCH_FAILED"],
    ["changes the protocol", (_request, response) => response.socket?.end("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), "VIDEO_FETCH_FAILED"],
    ["does not speak HTTP", (_request, response) => response.socket?.end(`hello ${SECRET}\r\n\r\n`), "VIDEO_FETCH_FAILED"],
    ["sends an endless head", (_request, response) => response.socket?.end(`HTTP/1.1 200 OK\r\nX: ${"x".repeat(100_000)}\r\n\r\n`), "VIDEO_FETCH_FAILED"],
  ];
  it.each(failures)("%s gets its code and leaves nothing", async (_, behaviour, code, options) => {
    answer = behaviour;
    expect((await refused(url(), { ...local(), ...options })).code).toBe(code);
  });

  it("has an unknown certificate, or one of another name, is not read", async () => {
    const { ca: _, ...strangers } = local();
    expect((await refused(url(), strangers)).code).toBe("VIDEO_FETCH_FAILED");
    expect((await refused(url().replace("episodes", "third"))).code).toBe("VIDEO_FETCH_FAILED");
    expect(asked).toEqual([]);
  });

  it("speaks no TLS, or is not there, is an error", async () => {
    const plain = createTcpServer((socket) => socket.on("error", () => undefined).resume().end("HTTP/1.1 200 OK\r\n\r\n"));
    await once(plain.listen(0, "127.0.0.1"), "listening");
    const { port } = plain.address() as AddressInfo;
    expect((await refused(`https://episodes.test:${port}/?${SECRET}`)).code).toBe("VIDEO_FETCH_FAILED");
    plain.close();
    await once(plain, "close");
    const { code, message } = await refused(`https://episodes.test:${port}/?${SECRET}`);
    expect([code, message]).toEqual(["VIDEO_FETCH_FAILED", expect.stringContaining("ECONNREFUSED")]);
  });

  it("is told the host's name, and only a name", async () => {
    const names: (string | false | null)[] = [];
    const tls = createTlsServer({ key, cert }, (socket: TLSSocket) => (names.push(socket.servername), socket.on("error", () => undefined).destroy()));
    await once(tls.listen(0, "127.0.0.1"), "listening");
    const { port } = tls.address() as AddressInfo;
    for (const host of ["episodes.test", "127.0.0.1"]) await refused(`https://${host}:${port}/`);
    tls.close();
    expect(names).toEqual(["episodes.test", false]);
  });
});

describe("a fetch", () => {
  it.each(["before", "while the name is resolved", "before the answer", "in the middle"])("is cancelled %s", async (when) => {
    const stop = new AbortController();
    const options = local();
    if (when === "before") stop.abort(new Error(SECRET));
    else if (when === "while the name is resolved") options.lookup = () => (stop.abort(), new Promise(() => undefined));
    else answer = (_request, response) => {
      if (when === "in the middle") response.write(EPISODE);
      setTimeout(() => stop.abort(), 50);
    };
    expect((await refused(`${base}/?${SECRET}`, options, stop.signal)).code).toBe("VIDEO_CANCELLED");
  });

  it("gives up when the name is not resolved in time", async () => {
    expect((await refused(`${base}/?${SECRET}`, { ...local(), timeoutMs: 50, lookup: () => new Promise(() => undefined) })).code).toBe("VIDEO_TIMEOUT");
  });

  it("says when no private folder can be made", async () => {
    const file = join(temporaryFolder, "..", `${Date.now()}.file`);
    await writeFile(file, "");
    expect((await refused(`${base}/?${SECRET}`, { ...local(), temporaryFolder: file })).code).toBe("VIDEO_FETCH_FAILED");
  });

  it("goes through no proxy of the environment, and keeps checking certificates", async () => {
    let connections = 0;
    const proxy = createTcpServer((socket) => (connections++, socket.destroy()));
    await once(proxy.listen(0, "127.0.0.1"), "listening");
    const at = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const program = `
      import { fetchEpisode } from ${JSON.stringify(fileURLToPath(new URL("../src/fetch/fetch-episode.ts", import.meta.url)))};
      const options = { allowAddress: () => true, temporaryFolder: ${JSON.stringify(temporaryFolder)}, lookup: async () => ["127.0.0.1"] };
      const { bytes, remove } = await fetchEpisode(${JSON.stringify(base)}, { ...options, ca: ${JSON.stringify(cert)} });
      await remove();
      const { code } = await fetchEpisode(${JSON.stringify(base)}, options).catch((error) => error);
      console.log(bytes, code);`;
    const child = spawn(process.execPath, ["--conditions=@dramascope/source", "--input-type=module", "-e", program], {
      env: { ...process.env, NODE_USE_ENV_PROXY: "1", HTTPS_PROXY: at, https_proxy: at, HTTP_PROXY: at, ALL_PROXY: at, NO_PROXY: "", NODE_TLS_REJECT_UNAUTHORIZED: "0", NODE_NO_WARNINGS: "1" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const output = (await child.stdout.toArray()).join("");
    proxy.close();
    expect([output, connections]).toEqual([`${EPISODE.length} VIDEO_FETCH_FAILED\n`, 0]);
  });
});
