import { execFileSync, spawn } from "node:child_process";
import { appendFile, copyFile, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { decodeDrama, decodeEpisode, extractFrames, findFfmpeg, planDrama, probeEpisode, VideoError, type DramaOptions, type FrameStream, type Probe } from "@dramascope/video";
import { beforeAll, describe, expect, it } from "vitest";
import { makeFilm, processesNaming, SMALL, temporaryFolder, VERTICAL, wrapFfmpeg } from "./real-ffmpeg.ts";

let folder: string;
let film: string;
beforeAll(async () => {
  folder = await temporaryFolder();
  film = await makeFilm(join(folder, "film.mp4"), 20);
});

async function errorOf(work: Promise<unknown>): Promise<VideoError> {
  const reason: unknown = await work.then(() => undefined, (error: unknown) => error);
  if (!VideoError.isInstance(reason)) throw new Error("no VideoError", { cause: reason });
  return reason;
}
const codeOf = async (work: Promise<unknown>): Promise<string> => (await errorOf(work)).code;
const decode = (options: DramaOptions, path = film): Promise<unknown> => decodeDrama([{ path }], { plan: SMALL, ...options });

/** Waits for a condition, a few seconds at most. */
async function until(isTrue: () => Promise<boolean>): Promise<boolean> {
  for (let n = 0; n < 100; n++) {
    if (await isTrue()) return true;
    await pause(50);
  }
  return false;
}

async function openFilm(options: { signal?: AbortSignal; tokens?: number } = {}): Promise<{ probe: Probe; stream: FrameStream }> {
  const { tokens = 6, ...rest } = options;
  const probe = await probeEpisode(film);
  const plan = planDrama([probe], { maxPairTokens: tokens, minFrameTokens: tokens, floorPairTokens: tokens });
  return { probe, stream: decodeEpisode(film, plan.episodes[0]!, { probe, strideSeconds: plan.strideSeconds, ...rest }) };
}

describe("paths", () => {
  it("refuses names that lead out of the drama's folder, unless the folder is allowed", async () => {
    const inside = join(folder, "drama");
    await mkdir(inside);
    await symlink(film, join(inside, "1.mp4"));
    await symlink("2-real.mp4", join(inside, "2.mp4"));
    await copyFile(film, join(inside, "2-real.mp4"));
    expect(await codeOf(probeEpisode(join(inside, "1.mp4")))).toBe("VIDEO_PATH_REFUSED");
    expect(await codeOf(probeEpisode(film, { roots: [inside] }))).toBe("VIDEO_PATH_REFUSED");
    expect(await codeOf(probeEpisode(`${inside}/../../../../../../etc/passwd`, { roots: [inside] }))).toBe("VIDEO_PATH_REFUSED");
    expect((await probeEpisode(join(inside, "1.mp4"), { roots: [folder] })).end).toBeCloseTo(20, 5);
    expect((await probeEpisode(join(inside, "2.mp4"))).end).toBeCloseTo(20, 5);
  });

  it("refuses what cannot be a file's name", async () => {
    for (const path of ["", "a\0b.mp4", "x".repeat(5000)]) expect(await codeOf(probeEpisode(path))).toBe("VIDEO_NOT_FOUND");
  });

  it("refuses sockets and files above the limit without opening them", async () => {
    const socket = join(folder, "socket.mp4");
    const server = createServer().listen(socket);
    await new Promise((resolve) => server.once("listening", resolve));
    expect(await codeOf(probeEpisode(socket))).toBe("VIDEO_NOT_A_FILE");
    server.close();
    expect(await codeOf(probeEpisode(film, { maxBytes: 1000 }))).toBe("VIDEO_TOO_LARGE");
  });

  it.each(["http://127.0.0.1:9/a.mp4", "https://example.com/a.mp4?token=canary-7731", "file:///etc/passwd", "rtmp://127.0.0.1/a"])("does not open %s", async (path) => {
    const error = await errorOf(decodeDrama([{ path }]));
    expect(error.code).toBe("VIDEO_PATH_REFUSED");
    expect(JSON.stringify(error) + error.message + (error.stack ?? "")).not.toContain("canary-7731");
  });

  it("notices a file that was replaced or written to after it was looked at", async () => {
    const path = join(folder, "growing.mp4");
    await copyFile(film, path);
    const probe = await probeEpisode(path);
    const plan = planDrama([probe], SMALL);
    await appendFile(path, "more");
    const stream = decodeEpisode(path, plan.episodes[0]!, { probe, strideSeconds: 1 });
    expect(await codeOf(stream.next())).toBe("VIDEO_CHANGED");
    expect(await codeOf(stream.report)).toBe("VIDEO_CHANGED");
  });
});

describe("findFfmpeg", () => {
  it("finds one and says where; one that was named must work", async () => {
    const found = await findFfmpeg();
    expect(found.version).toMatch(/\d/u);
    for (const name of ["DRAMASCOPE_FFMPEG", "FFMPEG_BIN"]) expect(await codeOf(findFfmpeg({ env: { [name]: "/nonexistent/ffmpeg", PATH: process.env["PATH"] } }))).toBe("FFMPEG_UNUSABLE");
    expect(await codeOf(findFfmpeg({ ffmpegPath: process.execPath }))).toBe("FFMPEG_UNUSABLE");
    expect(await codeOf(findFfmpeg({ ffmpegPath: folder }))).toBe("FFMPEG_UNUSABLE");
  });

  it("refuses one that hangs or lacks what is needed", async () => {
    const poor = join(folder, "poor");
    await writeFile(poor, '#!/bin/sh\ncase "$*" in *version*) echo "ffmpeg version 9.9" ;; *filters*) echo " ... fps V->V x" ;; *) echo " V..... h264 x" ;; esac\n', { mode: 0o755 });
    const error = await errorOf(findFfmpeg({ ffmpegPath: poor }));
    expect(error).toMatchObject({ code: "FFMPEG_UNUSABLE" });
    expect(error.message).toContain("trim, scale, hevc, vp9");
  });
});

describe("the ffmpeg process", () => {
  it("sees nothing of the environment but PATH", async () => {
    const { path, log } = await wrapFfmpeg(folder);
    process.env["HTTP_PROXY"] = "http://canary-5512.example";
    process.env["CANARY_TOKEN"] = "canary-5512";
    try {
      await decode({ ffmpegPath: path });
    } finally {
      delete process.env["HTTP_PROXY"];
      delete process.env["CANARY_TOKEN"];
    }
    const text = await readFile(log, "utf8");
    expect(text).toContain("rawvideo");
    expect(text).toContain("PATH=");
    expect(text).not.toMatch(/canary-5512|HTTP_PROXY|HOME=/u);
  });

  it.each([
    ["codec not built in (7)", 'echo "[vist#0:0/av1 @ 0x1] [error] Decoding requested, but no decoder found for: av1" >&2; exit 8', "VIDEO_DECODER_MISSING", "av1"],
    ["codec not built in (5)", 'echo "[error] Decoder (codec hevc) not found for input stream #0:0" >&2; exit 1', "VIDEO_DECODER_MISSING", "hevc"],
    ["memory limit", 'echo "[error] Cannot allocate memory" >&2; exit 1', "VIDEO_RESOURCE", "memory"],
    ["processor limit", "ulimit -t 1; while :; do :; done", "VIDEO_RESOURCE", "SIG"],
    ["killed from outside", "kill -9 $$", "VIDEO_RESOURCE", "SIGKILL"],
    ["an unknown failure", 'echo "[error] strange" >&2; exit 3', "VIDEO_DECODE_FAILED", "could not decode"],
    ["nothing at all", "exit 0", "VIDEO_NO_FRAMES", "no picture"],
    ["a piece of a picture", "printf abc; exit 0", "VIDEO_DECODE_FAILED", "incomplete"],
    ["100 kB of errors", 'i=0; while [ $i -lt 1000 ]; do echo "[h264 @ 0x1] [error] concealing 12 DC, 12 AC, 12 MV errors in I frame, one after another" >&2; i=$((i+1)); done; exec "$REAL" "$@"', "VIDEO_DAMAGED", "1000 errors"],
  ])("that ends with %s gets its code", async (_, instead, code, part) => {
    const { path: real } = await findFfmpeg();
    const { path } = await wrapFfmpeg(folder, instead.replace('"$REAL"', `'${real}'`));
    const error = await errorOf(decode({ ffmpegPath: path }));
    expect(error).toMatchObject({ code, path: film, episode: 0 });
    expect(error.message).toContain(part);
    expect((error.detail ?? "").length).toBeLessThanOrEqual(8192);
  });

  it("is stopped when it sends more than was asked for", async () => {
    const { path } = await wrapFfmpeg(folder, "exec cat /dev/zero");
    const { episodes } = await decodeDrama([{ path: film }], { plan: SMALL, ffmpegPath: path });
    expect(episodes[0]!.manifest.warnings).toContain("DURATION_MISMATCH");
    expect(await processesNaming(film)).toEqual([]);
  });

  it("accepts one frame too few at the end, and shows the last picture with the number of its second", async () => {
    const { path: real } = await findFfmpeg();
    const { path } = await wrapFfmpeg(folder, `exec '${real}' $(printf '%s ' "$@" | sed 's/end_frame=20/end_frame=19/')`);
    const { episodes } = await decodeDrama([{ path: film }], { plan: SMALL, ffmpegPath: path });
    const { manifest, labels } = episodes[0]!;
    expect([labels.length, labels.at(-1), manifest.frames.at(-1)!.repeat, manifest.decode]).toEqual([20, 19, true, { decoded: 19, expected: 20, errorLines: 0 }]);
  });
});

describe("cancelling and waiting", () => {
  it("stops at once at a random moment, leaves no process and no folder", async () => {
    for (let n = 0; n < 20; n++) {
      const out = join(folder, `cancelled-${n}`);
      const start = performance.now();
      const ms = (n * 37) % 400;
      const error: unknown = await extractFrames([{ path: VERTICAL }], { out, plan: SMALL, signal: AbortSignal.timeout(ms) }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "VIDEO_CANCELLED" });
      expect(performance.now() - start - ms).toBeLessThan(1000);
      expect(await readdir(out).catch(() => [])).toEqual([]);
    }
    expect(await processesNaming(VERTICAL)).toEqual([]);
  });

  it("stops while nobody asks for frames, and when the loop is left", async () => {
    const stop = new AbortController();
    const { stream } = await openFilm({ signal: stop.signal, tokens: 64 });
    await stream.next();
    stop.abort();
    expect(await until(async () => (await processesNaming(film)).length === 0)).toBe(true);
    expect(await codeOf(stream.next())).toBe("VIDEO_CANCELLED");

    const left = await openFilm();
    for await (const frame of left.stream) if (frame.index === 2) break;
    expect(await codeOf(left.stream.report)).toBe("VIDEO_CANCELLED");
    expect(await processesNaming(film)).toEqual([]);
  });

  it("waits for a slow consumer without reading ahead", async () => {
    const { stream } = await openFilm({ tokens: 500 });
    await stream.next();
    await pause(500);
    const cpu = async (): Promise<number> => {
      const [pid] = (await Promise.all((await readdir("/proc")).filter((name) => /^\d+$/u.test(name)).map(async (name) => ((await readFile(`/proc/${name}/cmdline`, "latin1").catch(() => "")).includes(`file:${film}`) ? name : "")))).filter((name) => name !== "");
      const fields = (await readFile(`/proc/${pid}/stat`, "latin1")).split(") ")[1]!.split(" ");
      return Number(fields[11]) + Number(fields[12]);
    };
    const before = await cpu();
    await pause(1500);
    expect(await cpu()).toBe(before);
    let count = 1;
    for await (const _ of stream) count++;
    expect(count).toBe(20);
    expect((await stream.report).decoded).toBe(20);
  });

  it("goes on with the other episodes when it is not strict, in order", async () => {
    const bad = join(folder, "bad.mp4");
    await writeFile(bad, "no film");
    const cut = join(folder, "cut.mp4");
    await writeFile(cut, (await readFile(VERTICAL)).subarray(0, 4_000_000));
    const options = { plan: SMALL, strict: false, out: join(folder, "lenient") };
    const drama = await extractFrames([{ path: bad }, { path: film }, { path: cut }, { path: VERTICAL }], options);
    expect(drama.failures.map(({ episode, error }) => [episode, error.code])).toEqual([[0, "VIDEO_FORMAT_REFUSED"], [2, "VIDEO_TRUNCATED"]]);
    expect(drama.episodes.map(({ episode, manifest }) => [episode, manifest.plan.clockOffset])).toEqual([[1, 0], [3, 91]]);
    expect((await readdir(options.out)).sort()).toEqual(["2", "4"]);
    const none = await extractFrames([{ path: bad }], options);
    expect([none.episodes, none.plan.totalTokens, none.failures.length]).toEqual([[], 0, 1]);
  });

  it("runs no more processes at once than asked for", async () => {
    const { path, log } = await wrapFfmpeg(folder, `n=$(ls '${folder}'/running-* 2>/dev/null | wc -l); echo "at once $n" >> "$0.log"; : > '${folder}'/running-$$; sleep 0.15; rm -f '${folder}'/running-$$`);
    await Promise.all(Array.from({ length: 3 }, () => decodeDrama([{ path: film }, { path: film }], { plan: SMALL, ffmpegPath: path, processes: 2 })));
    const counts = [...(await readFile(log, "utf8")).matchAll(/^at once (\d+)$/gmu)].map(([, n]) => Number(n));
    expect(counts).toHaveLength(6);
    expect(Math.max(...counts)).toBeLessThanOrEqual(1);
  });
});

it("leaves no ffmpeg behind when its process is killed", async () => {
  const script = join(folder, "victim.ts");
  await writeFile(script, `import { decodeDrama } from ${JSON.stringify(new URL("../src/index.ts", import.meta.url).href)};\nawait decodeDrama([{ path: ${JSON.stringify(VERTICAL)} }], { onProgress: ({ type }) => type === "frame" && console.log("frame") });\n`);
  const child = spawn(process.execPath, ["--conditions=@dramascope/source", script], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  expect(await processesNaming(VERTICAL)).toHaveLength(1);
  child.kill("SIGKILL");
  expect(await until(async () => (await processesNaming(VERTICAL)).length === 0)).toBe(true);
  const exits = join(folder, "exits.ts");
  await writeFile(exits, `import { decodeDrama } from ${JSON.stringify(new URL("../src/index.ts", import.meta.url).href)};\nawait decodeDrama([{ path: ${JSON.stringify(VERTICAL)} }], { onProgress: ({ type }) => type === "frame" && process.exit(0) });\n`);
  execFileSync(process.execPath, ["--conditions=@dramascope/source", exits]);
  expect(await until(async () => (await processesNaming(VERTICAL)).length === 0)).toBe(true);
});
