import { execFile, execFileSync, spawn } from "node:child_process";
import { appendFile, copyFile, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { decodeDrama, decodeEpisode, extractFrames, findFfmpeg, planDrama, probeEpisode, VideoError, type DramaOptions, type FrameStream, type Probe } from "@dramascope/video";
import { beforeAll, describe, expect, it } from "vitest";
import { INPUT_GUARDS } from "../src/ffmpeg-process.ts";
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
  it("is given every guard, and limits that hold", async () => {
    const limitsFile = join(folder, "limits");
    const { path, log } = await wrapFfmpeg(folder, `cat /proc/$$/limits > '${limitsFile}'`);
    await decode({ ffmpegPath: path });
    const calls = (await readFile(log, "utf8")).split("\n").filter((line) => line.includes(`file:${film}`));
    expect(calls).toHaveLength(2);
    for (const call of calls) for (const guard of ["-protocol_whitelist file,pipe", "-format_whitelist mov,matroska,mpegts,avi,flv", "-max_pixels 16777216", "-reinit_filter 0", "-threads 1 -i", "-map 0:V:0", "-nostdin"]) expect(call).toContain(guard);
    const limits = await readFile(limitsFile, "utf8");
    expect(limits).toMatch(/Max cpu time\s+100\s+100\s/u);
    expect(limits).toMatch(/Max address space\s+4096000000\s/u);
  });

  it("opens no other file and no address, even if a playlist reached it", async () => {
    const { path: ffmpeg } = await findFfmpeg();
    let contacts = 0;
    const server = createServer((socket) => {
      contacts++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const playlists: Record<string, string> = {
      "a.m3u8": `#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://${film}\n#EXT-X-ENDLIST\n`,
      "b.m3u8": `#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n${address}/x.ts\n#EXT-X-ENDLIST\n`,
      "c.ffconcat": `ffconcat version 1.0\nfile '${film}'\n`,
      "d.mpd": `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT10S" profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000"><BaseURL>${address}/secret.mp4</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>`,
    };
    for (const [name, text] of Object.entries(playlists)) {
      await writeFile(join(folder, name), text);
      const args = (guards: readonly string[]): string[] => ["-nostdin", "-v", "error", ...guards, "-i", `file:${join(folder, name)}`, "-map", "0:V:0", "-frames:v", "1", "-f", "framecrc", "pipe:1"];
      const run = (guards: readonly string[]): Promise<string> => new Promise((resolve) => execFile(ffmpeg, args(guards), (_, stdout) => resolve(stdout)));
      expect(await run(INPUT_GUARDS)).toBe("");
      // Without the guards, a list of files plays: the check can fail.
      if (name === "c.ffconcat") expect(await run(["-safe", "0"])).toContain("#dimensions");
    }
    expect(contacts).toBe(0);
    server.close();
  });

  it("is ended when it keeps us waiting, but not for a slow consumer", async () => {
    const { path: hanging } = await wrapFfmpeg(folder, "sleep 30");
    expect(await codeOf(decode({ ffmpegPath: hanging, timeoutSeconds: 1 }))).toBe("VIDEO_TIMEOUT");
    const probe = await probeEpisode(film);
    const plan = planDrama([probe], { maxPairTokens: 500, minFrameTokens: 500, floorPairTokens: 500 });
    const stream = decodeEpisode(film, plan.episodes[0]!, { probe, strideSeconds: 1, timeoutSeconds: 1 });
    await stream.next();
    await pause(2500);
    let count = 1;
    for await (const _ of stream) count++;
    expect(count).toBe(20);
  });

  it("leaves HDR as it is where it cannot tone map, and says so", async () => {
    const hdr = join(folder, "hdr.mp4");
    const { path: real } = await findFfmpeg();
    execFileSync(real, ["-nostdin", "-v", "error", "-y", "-i", film, "-t", "3", "-vf", "format=yuv420p10le", "-color_trc", "smpte2084", "-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc", hdr]);
    const poor = join(folder, "no-zscale");
    await writeFile(poor, `#!/bin/sh\ncase "$*" in *-filters*) '${real}' "$@" | grep -v zscale ;; *) exec '${real}' "$@" ;; esac\n`, { mode: 0o755 });
    const treated = (await decodeDrama([{ path: hdr }], { plan: SMALL })).episodes[0]!;
    const untreated = (await decodeDrama([{ path: hdr }], { plan: SMALL, ffmpegPath: poor })).episodes[0]!;
    expect([treated.warnings, untreated.warnings]).toEqual([["HDR_TONEMAPPED"], ["HDR_UNTREATED"]]);
    expect(treated.manifest["filter"]).toContain("tonemap=mobius");
    expect(Buffer.from(treated.frames).equals(untreated.frames)).toBe(false);
  });

  it("is not trusted when the film changes in the middle", async () => {
    const path = join(folder, "changing.mp4");
    await copyFile(film, path);
    const { path: ffmpegPath } = await wrapFfmpeg(folder, `echo more >> '${path}'`);
    expect(await codeOf(decode({ ffmpegPath }, path))).toBe("VIDEO_CHANGED");
  });

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
  it("stops a look at a file, and refuses to start one when it is cancelled already", async () => {
    const { path } = await wrapFfmpeg(folder);
    const slow = join(folder, "slow-list");
    await writeFile(slow, `#!/bin/sh\ncase "$*" in *framecrc*) sleep 20 ;; esac\nexec '${path}' "$@"\n`, { mode: 0o755 });
    await findFfmpeg({ ffmpegPath: slow });
    const start = performance.now();
    expect(await codeOf(probeEpisode(film, { ffmpegPath: slow, signal: AbortSignal.timeout(100) }))).toBe("VIDEO_CANCELLED");
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(await codeOf(probeEpisode(film, { signal: AbortSignal.abort() }))).toBe("VIDEO_CANCELLED");
    expect(await until(async () => (await processesNaming(film)).length === 0)).toBe(true);
  });

  it("settles the report of a stream that was never asked for a frame", async () => {
    const { stream } = await openFilm();
    await stream.return!();
    expect(await codeOf(stream.report)).toBe("VIDEO_CANCELLED");
  });

  it("stops at once at a random moment, leaves no process and no folder", async () => {
    for (let n = 0; n < 20; n++) {
      const out = join(folder, `cancelled-${n}`);
      const start = performance.now();
      const ms = (n * 37) % 400;
      const error: unknown = await extractFrames([{ path: VERTICAL }], { out, plan: SMALL, signal: AbortSignal.timeout(ms) }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "VIDEO_CANCELLED" });
      expect(performance.now() - start - ms).toBeLessThan(2000);
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

describe("what callers do wrong", () => {
  it("replaces nothing but earlier frames", async () => {
    const out = join(folder, "season");
    await mkdir(join(out, "1"), { recursive: true });
    await copyFile(film, join(out, "1", "episode.mp4"));
    expect(await codeOf(extractFrames([{ path: film }], { out, plan: SMALL }))).toBe("FRAMES_FOLDER");
    expect(await readdir(join(out, "1"))).toEqual(["episode.mp4"]);
    const again = join(folder, "again");
    await extractFrames([{ path: film }, { path: film }], { out: again, plan: SMALL });
    await extractFrames([{ path: film }], { out: again, plan: SMALL, format: "png" });
    expect(await readdir(again)).toEqual(["1"]);
    expect((await readdir(join(again, "1"))).filter((name) => name.endsWith(".jpg"))).toEqual([]);
    await writeFile(join(folder, "a-file"), "");
    expect(await codeOf(extractFrames([{ path: film }], { out: join(folder, "a-file"), plan: SMALL }))).toBe("FRAMES_FOLDER");
  });

  it.each<[string, DramaOptions]>([
    ["processes", { processes: 0 }],
    ["tokenBudget", { plan: { tokenBudget: NaN } }],
    ["maxPairTokens", { plan: { maxPairTokens: 0 } }],
    ["maxSecondsPerEpisode", { plan: { maxSecondsPerEpisode: -1 } }],
    ["dot", { overlay: { dot: 1.5 } }],
    ["timeoutSeconds", { timeoutSeconds: 0 }],
  ])("names an impossible %s", async (name, options) => {
    const error = await errorOf(decodeDrama([{ path: film }], options));
    expect([error.code, error.message.includes(name)]).toEqual(["VIDEO_OPTIONS_INVALID", true]);
  });

  it("throws an error of the caller's function as it is, once all work has stopped", async () => {
    const mine = new TypeError("mine");
    const onProgress = ({ done }: { done: number }): void => {
      if (done > 0) throw mine;
    };
    await expect(decodeDrama([{ path: film }, { path: film }], { plan: SMALL, strict: false, onProgress })).rejects.toBe(mine);
    expect(await processesNaming(film)).toEqual([]);
  });

  it("shows names with signs of their own", async () => {
    const path = join(folder, "bad$&x$$.mp4");
    await writeFile(path, "no film");
    expect((await errorOf(decodeDrama([{ path }]))).message).toContain(`${path}: this is not`);
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
