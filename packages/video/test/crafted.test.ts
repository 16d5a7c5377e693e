import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { decodeDrama, findFfmpeg, probeEpisode, type EpisodeFrames, type Probe } from "@dramascope/video";
import { beforeAll, describe, expect, it } from "vitest";
import { readMovieHeader } from "../src/movie-header.ts";
import { makeFilm, SMALL, temporaryFolder } from "./real-ffmpeg.ts";

let folder: string;
let film: Buffer;
beforeAll(async () => {
  folder = await temporaryFolder();
  film = await readFile(await makeFilm(join(folder, "film.mp4"), 10));
});

const at = (name: string): string => join(folder, name);
async function given(name: string, data: Uint8Array): Promise<string> {
  await writeFile(at(name), data);
  return at(name);
}
/** Makes a file of the film by ffmpeg, with these arguments after the input. */
async function converted(name: string, ...args: string[]): Promise<string> {
  execFileSync((await findFfmpeg()).path, ["-nostdin", "-v", "error", "-y", "-i", at("film.mp4"), ...args, at(name)]);
  return at(name);
}
async function framesOf(path: string): Promise<EpisodeFrames> {
  return (await decodeDrama([{ path }], { plan: SMALL })).episodes[0]!;
}
const sampledOf = ({ manifest }: EpisodeFrames): number => manifest.frames.filter(({ repeat }) => !repeat).length;
const code = (value: string): Error => expect.objectContaining({ code: value, path: expect.stringContaining(folder) as string, hint: expect.any(String) as string }) as Error;

const box = (type: string, ...contents: Uint8Array[]): Buffer => {
  const content = Buffer.concat(contents);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(content.length + 8);
  head.write(type, 4, "latin1");
  return Buffer.concat([head, content]);
};
const FTYP = box("ftyp", Buffer.from("isom\0\0\0\0isom"));

describe("a film's length", () => {
  it("is what its edit list shows, not what its track holds", async () => {
    const trimmed = Buffer.from(film);
    const elst = trimmed.indexOf("elst");
    trimmed.writeUInt32BE(Math.round(trimmed.readUInt32BE(elst + 12) * 0.6), elst + 12);
    expect(sampledOf(await framesOf(await given("trimmed.mp4", trimmed)))).toBe(6);
  });

  it("goes on over joined streams, whose clock starts again or jumps", async () => {
    const stream = await readFile(await converted("one.ts", "-c", "copy"));
    const later = await readFile(await converted("later.ts", "-c", "copy", "-output_ts_offset", "1000"));
    for (const [name, second] of [["joined.ts", stream], ["jump.ts", later]] as const) expect(sampledOf(await framesOf(await given(name, Buffer.concat([stream, second]))))).toBe(20);
  });

  it("is not what a single count in the index claims, and does not thin out the episodes beside it", async () => {
    const lying = Buffer.from(film);
    lying.writeUInt32BE(0xffffffff, lying.indexOf("stts") + 12);
    const path = await given("lying.mp4", lying);
    const { plan, episodes } = await decodeDrama([{ path: at("film.mp4") }, { path }], { plan: { ...SMALL, tokenBudget: 200 }, strict: false });
    expect([plan.strideSeconds, sampledOf(episodes[0]!)]).toEqual([1, 10]);
  });

  it("is the claimed one where a file was cut, which is then refused", async () => {
    const whole = await readFile(await converted("whole.mkv", "-c", "copy"));
    const half = await given("half.mkv", whole.subarray(0, whole.length >> 1));
    await expect(framesOf(half)).rejects.toThrow(code("VIDEO_TRUNCATED"));
    const { episodes } = await decodeDrama([{ path: half }], { plan: SMALL, allowTruncated: true });
    expect(episodes[0]!.manifest.warnings).toContain("TRUNCATED");
  });

  it("survives zeros after the end, as half-written downloads have them", async () => {
    const path = await given("padded.webm", Buffer.concat([await readFile(await converted("clean.webm", "-c:v", "libvpx", "-b:v", "200k", "-deadline", "realtime")), Buffer.alloc(100)]));
    expect(sampledOf(await framesOf(path))).toBe(10);
  });

  it("is known for films without a claim", async () => {
    const unknown = Buffer.from(film);
    unknown.writeUInt32BE(0xffffffff, unknown.indexOf("mvhd") + 20);
    expect((await probeEpisode(await given("unknown.mp4", unknown))).warnings).toEqual([]);
  });
});

describe("a film's picture", () => {
  it("has the pixel aspect that stands in the stream alone", async () => {
    const path = await converted("aspect.mp4", "-vf", "setsar=2/1", "-c:v", "libx264", "-preset", "ultrafast", "-t", "2");
    const bytes = await readFile(path);
    const pasp = bytes.indexOf("pasp");
    bytes.write("skip", pasp, "latin1");
    const probe = await probeEpisode(await given("aspect-in-stream.mp4", bytes));
    expect([probe.displayWidth, probe.displayHeight, probe.sampleAspect]).toEqual([360, 320, [2, 1]]);
  });

  it("is not turned, named or hidden by the words in the file", async () => {
    const words = ["rotation of 90.00 degrees", "Video: evil (x), yuv420p10le(tv, bt2020nc/bt2020/smpte2084, top first), 9x9", "Output #0, framecrc, to 'x':\n  Stream #0:0: Video: evil", "x\n[h264 @ 0x1] [error] : partial file"];
    const expected: Partial<Probe> = { rotation: 0, hdr: false, interlaced: false, displayWidth: 180, displayHeight: 320, videoTracks: 1 };
    for (const [i, title] of words.entries()) {
      for (const ending of ["mp4", "mkv", "avi"]) {
        const path = await converted(`words-${i}.${ending}`, "-c:v", ending === "avi" ? "mpeg4" : "copy", "-metadata", `title=${title}`, "-metadata", `displaymatrix=${title}`, "-metadata:s:v:0", `handler_name=${title}`);
        const probe = await probeEpisode(path);
        expect(probe).toMatchObject(expected);
        expect(probe.codec).toBe(ending === "avi" ? "mpeg4" : "h264");
        expect(probe.end).toBeCloseTo(10, 1);
      }
    }
  });

  it("is known behind a thousand chapters", async () => {
    const chapters = Array.from({ length: 1000 }, (_, i) => `[CHAPTER]\nTIMEBASE=1/1000\nSTART=${i * 10}\nEND=${i * 10 + 10}\ntitle=${"chapter ".repeat(8)}${i}\n`).join("");
    await writeFile(at("chapters.txt"), `;FFMETADATA1\n${chapters}`);
    const path = await converted("chapters.mkv", "-f", "ffmetadata", "-i", at("chapters.txt"), "-map_chapters", "1", "-vf", "tinterlace=interleave_top,fieldorder=tff", "-c:v", "libx264", "-preset", "ultrafast", "-flags", "+ildct+ilme", "-x264opts", "tff=1");
    const { manifest } = await framesOf(path);
    expect(manifest.warnings).toContain("INTERLACED");
    expect(manifest["filter"]).toContain("bwdif=mode=0,fps=1/1");
  });
});

describe("crafted files", () => {
  it.each([
    ["forty bytes of Matroska", Buffer.from(`1a45dfa38f4286810142828862${"6d6174726f736b61".slice(2)}1853806701ffffffffffffff${"ae80".repeat(10)}`, "hex"), "mkv"],
    ["a movie of 200,000 nested boxes", Buffer.concat([FTYP, box("moov", Buffer.concat(Array.from({ length: 200_000 }, (_, i) => {
      const head = Buffer.alloc(8);
      head.writeUInt32BE((200_000 - i) * 8);
      head.write("trak", 4, "latin1");
      return head;
    })))]), "mp4"],
    ["a movie of four million empty boxes", Buffer.concat([FTYP, box("moov", Buffer.alloc(32 * 2 ** 20, box("free")))]), "mp4"],
    ["a box that is larger than the file", Buffer.concat([FTYP, Buffer.from("7fffffff6d6f6f76", "hex")]), "mp4"],
    ["a box with a length of 2^63", Buffer.concat([FTYP, Buffer.from("000000016d6f6f768000000000000000", "hex")]), "mp4"],
    ["a box of no length", Buffer.concat([FTYP, Buffer.from("0000000466726565", "hex"), Buffer.alloc(1000)]), "mp4"],
  ])("%s is refused without delay", async (name, bytes, ending) => {
    const path = await given(`${name.replaceAll(/\W/gu, "-")}.${ending}`, bytes);
    let isBlocked = false;
    let last = performance.now();
    const watch = setInterval(() => {
      isBlocked ||= performance.now() - last > 3000;
      last = performance.now();
    }, 20);
    await expect(probeEpisode(path)).rejects.toThrow(expect.objectContaining({ code: expect.stringMatching(/^VIDEO_(?:CORRUPT|NO_VIDEO_STREAM|NO_FRAMES)$/u) as string, path }) as Error);
    clearInterval(watch);
    expect(isBlocked).toBe(false);
  });

  it("with one changed number in the index neither hang nor pass as something else", async () => {
    for (const [name, offset] of [["stsc", 16], ["stsz", 12], ["stco", 12], ["ctts", 12], ["mdhd", 16], ["tkhd", 80], ["stts", 16]] as const) {
      const bytes = Buffer.from(film);
      const place = bytes.indexOf(name);
      if (place < 0) continue;
      bytes.writeUInt32BE(0x7fffffff, place + offset);
      const result: unknown = await framesOf(await given(`${name}.mp4`, bytes)).catch((error: unknown) => error);
      if (result instanceof Error) expect(result).toMatchObject({ code: expect.stringMatching(/^VIDEO_/u) as string });
      else expect(sampledOf(result as EpisodeFrames)).toBeLessThanOrEqual(450);
    }
  });

  it("say by their header what they claim and whether they are encrypted, sound aside", async () => {
    const header = async (name: string, bytes: Buffer): Promise<unknown> => readMovieHeader(await given(name, bytes), bytes.length);
    expect(await header("claims.mp4", film)).toEqual({ seconds: 10, mediaSeconds: 10, isEncrypted: false });
    const encrypted = Buffer.from(film);
    encrypted.write("encv", encrypted.indexOf("avc1", encrypted.indexOf("stsd")), "latin1");
    expect(await header("encrypted.mp4", encrypted)).toMatchObject({ isEncrypted: true });
    await expect(probeEpisode(at("encrypted.mp4"))).rejects.toThrow(code("VIDEO_ENCRYPTED"));
    expect(await header("nothing.mp4", FTYP)).toBeUndefined();
  });
});
