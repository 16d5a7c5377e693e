import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { frameManifestPath, openSqliteLedger, parseCurationConfig, runCuration, type CurationConfigInput, type CurationOptions, type LabelledDrama, type RunSummary } from "@dramascope/curation";
import type { ChatContent, ChatRequest, TeacherClient } from "@dramascope/chat-client";
import type { VideoErrorCode } from "@dramascope/video";
import { describe, expect, it } from "vitest";
import { dramas, settings } from "./simulator.ts";

const { VideoError } = await import("@dramascope/video");

/** A teacher in this process that remembers what it was asked. */
function listener(): TeacherClient & { requests: ChatRequest[] } {
  const requests: ChatRequest[] = [];
  const content = (task: string): string => (task === "caption" ? "Two sisters fight over a hotel." : task === "cot" ? '{"think":"x","answer":1}' : task === "cot_filter" ? '{"reason":"x","valid":true}' : '{"labels":[]}');
  return {
    requests,
    call: (request) => {
      requests.push(request);
      return Promise.resolve({ kind: "ok", content: content(request.task), finish: "stop", model: request.model, usage: { promptTokens: 10, completionTokens: 10, source: "reported" }, ms: 1 });
    },
    capabilities: () => ({ frames: true, videoUrl: true, fpsWhere: "none", fileId: true, jsonSchema: true, metadata: false, traceHeaders: false, thinkingParam: "none", prefixCache: false, batch: false }),
    close: () => Promise.resolve(),
  };
}

interface Asked {
  summary: RunSummary;
  requests: ChatRequest[];
  folder: string;
  codes: (string | null)[];
}

async function ask(list: LabelledDrama[], more: object = {}, options: Partial<CurationOptions> = {}, at?: string): Promise<Asked> {
  const folder = at ?? (await mkdtemp(join(tmpdir(), "dramascope-media-")));
  const base: CurationConfigInput = settings("http://127.0.0.1:9/v1");
  const config = parseCurationConfig({ ...base, workdir: folder, split: { evalPerClass: 0 }, rounds: { max: 1, perClassMax: {} }, ...more });
  const client = listener();
  const ledger = openSqliteLedger(join(folder, "ledger.db"));
  try {
    const summary = await runCuration({ config, dramas: list, ledger, client, ...options });
    const codes: (string | null)[] = [];
    for await (const { code } of ledger.stream({ state: "failed" })) codes.push(code);
    return { summary, requests: client.requests, folder, codes };
  } finally {
    await ledger.close();
  }
}

const partsOf = (request: ChatRequest): ChatContent[] => request.messages.flatMap(({ content }) => (typeof content === "string" ? [{ type: "text" as const, text: content }] : [...content]));
const shapeOf = (request: ChatRequest): string[] => partsOf(request).map((part) => (part.type === "text" ? (part.text.length < 20 ? part.text : "request") : part.type === "jpeg" ? Buffer.from(part.data).toString() : part.type === "videoUrl" ? `${part.url} ${part.fps ?? ""}` : part.id));
const teacherWith = (more: object): object => ({ teacher: { ...settings("http://127.0.0.1:9/v1").teacher, ...more } });

describe("what a teacher sees", () => {
  it("are numbered frames, episode after episode, before the request or after it", async () => {
    const loadPictures: CurationOptions["loadPictures"] = ({ dramaId }, episode) => Promise.resolve([1, 2].map((frame) => Buffer.from(`${dramaId.slice(-1)}.${episode}.${frame}`)));
    const frames = [1, 2, 3, 4, 5].flatMap((episode) => [`Episode ${episode}:`, `0.${episode}.1`, `0.${episode}.2`]);
    const { requests } = await ask(dramas(1), {}, { loadPictures });
    expect(requests.map(({ task }) => task).sort()).toEqual(["caption", "comment_filter", "comment_filter", "cot", "cot_filter"]);
    for (const request of requests) expect(shapeOf(request)).toEqual(request.task.endsWith("_filter") ? ["request"] : [...frames, "request"]);
    const after = await ask(dramas(1), { mediaPosition: "after" }, { loadPictures });
    expect(shapeOf(after.requests.find(({ task }) => task === "cot")!)).toEqual(["request", ...frames]);
  });

  it("are links where the settings say so; an episode without one is named", async () => {
    const list = dramas(2);
    for (const episode of list[0]!.drama.episodes) episode.url = `https://x.example/${episode.index}.mp4`;
    list[1]!.drama.episodes[0]!.url = "https://x.example/other.mp4";
    const { requests, codes, summary } = await ask(list, teacherWith({ media: "video_url", fps: 2 }));
    expect(shapeOf(requests.find(({ task }) => task === "cot")!).slice(0, 2)).toEqual(["Episode 1:", "https://x.example/1.mp4 2"]);
    expect([codes, summary.isComplete]).toEqual([["MEDIA_MISSING"], true]);
    expect(requests.filter(({ trace }) => trace!.drama === list[1]!.drama.dramaId).map(({ task }) => task)).toEqual(["comment_filter", "comment_filter"]);
  });

  it("are the provider's ids of files, which never change a step's key", async () => {
    let lease = 0;
    const loadFileId: CurationOptions["loadFileId"] = ({ dramaId }, episode) => Promise.resolve(`file-${dramaId.slice(-1)}-${episode}-${++lease}`);
    const { requests, folder } = await ask(dramas(1), teacherWith({ media: "file_id" }), { loadFileId });
    expect(shapeOf(requests.find(({ task }) => task === "caption")!).filter((part) => part.startsWith("file-"))).toHaveLength(5);
    expect((await ask(dramas(1), teacherWith({ media: "file_id" }), { loadFileId }, folder)).requests).toEqual([]);
    await expect(ask(dramas(1), teacherWith({ media: "file_id" }))).rejects.toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }) as Error);
  });

  it("comes with a schema of the answer where the provider keeps to one", async () => {
    const { requests } = await ask(dramas(1), teacherWith({ capabilities: { jsonSchema: true } }));
    expect(new Map(requests.map(({ task, schema }) => [task, schema?.name]))).toEqual(new Map([["caption", undefined], ["comment_filter", "labels"], ["cot", "assessment"], ["cot_filter", "verdict"]]));
    expect((await ask(dramas(1))).requests.some(({ schema }) => schema)).toBe(false);
  });

  it("includes the transcript, redacted, as data", async () => {
    const list = dramas(1);
    list[0]!.drama["transcript"] = "Call me at 13800138000.\u200b {{ groundTruth }}";
    const { requests } = await ask(list);
    const text = JSON.stringify(partsOf(requests.find(({ task }) => task === "cot")!));
    expect(text).toContain("[phone]. {{ groundTruth }}");
    expect(text).toMatch(/data-[0-9a-f]{16}/u);
    expect(text).not.toContain("13800138000");
  });
});

describe("a drama of which the chosen form shows nothing", () => {
  it.each(["frames", "video_url"] as const)("is judged by its transcript where teacher.media is %s, and left out without one", async (media) => {
    const [spoken, silent, blank] = dramas(3);
    for (const { drama } of [spoken!, silent!, blank!]) for (const episode of drama.episodes) if (media === "frames") episode.url = "https://x.example/1.mp4";
    delete silent!.drama["transcript"];
    blank!.drama["transcript"] = " ";
    const { requests, summary } = await ask([spoken!, silent!, blank!], teacherWith({ media }));
    expect(summary.imported).toMatchObject({ dramas: 1, rejected: 2, withoutMedia: 1 });
    expect(await readFile(summary.imported!.rejectedFile!, "utf8")).toMatch(/"line":2.*MEDIA_MISSING.*\n.*"line":3.*MEDIA_MISSING/u);
    expect(new Set(requests.map(({ trace }) => trace!.drama))).toEqual(new Set([spoken!.drama.dramaId]));
    const text = JSON.stringify(partsOf(requests.find(({ task }) => task === "cot")!));
    expect([text.includes("opens the letter"), /red number/iu.test(text)]).toEqual([true, false]);
  });

  it("is asked about where a program makes pictures", async () => {
    const list = dramas(1);
    delete list[0]!.drama["transcript"];
    const { requests, summary } = await ask(list, {}, { loadPictures: () => Promise.resolve([Buffer.from("x")]) });
    expect(summary.imported).toMatchObject({ dramas: 1, rejected: 0, withoutMedia: 0 });
    expect(JSON.stringify(partsOf(requests.find(({ task }) => task === "cot")!))).toMatch(/red number/iu);
  });
});

describe("pictures that cannot be made", () => {
  const failing = (code: VideoErrorCode): Partial<CurationOptions> => ({ loadPictures: () => Promise.reject(new VideoError("no pictures", { code })) });

  it.each(["VIDEO_RESOURCE", "VIDEO_DECODER_MISSING", "VIDEO_CORRUPT"] as const)("end steps, not the run, with %s", async (code) => {
    const { codes, requests, summary } = await ask(dramas(2), {}, failing(code));
    expect([new Set(codes), summary.isComplete]).toEqual([new Set([code]), true]);
    expect(new Set(requests.map(({ task }) => task))).toEqual(new Set(["comment_filter"]));
  });

  it.each(["FFMPEG_NOT_FOUND", "FFMPEG_UNUSABLE"] as const)("end the run with %s", async (code) => {
    await expect(ask(dramas(2), {}, failing(code))).rejects.toThrow(expect.objectContaining({ code }) as Error);
  });
});

describe("frames of files", () => {
  it("are extracted once and kept in the work folder; a file that is no video ends in its code", async () => {
    const media = await mkdtemp(join(tmpdir(), "dramascope-clips-"));
    await writeFile(join(media, "bad.mp4"), "no video at all");
    const [good, bad] = dramas(2);
    good!.drama.episodes = [{ index: 1, path: fileURLToPath(new URL("../../../test-fixtures/clips/tears-of-steel-vertical-540x960.mp4", import.meta.url)) }];
    bad!.drama.episodes = [{ index: 1, path: join(media, "bad.mp4") }];
    const more = { frames: { tokenBudget: 256, maxSecondsPerEpisode: 3 } };
    const { codes, folder, requests } = await ask([good!, bad!], more);
    expect(codes).toEqual([expect.stringMatching(/^VIDEO_/u)]);
    const jpegs = requests.filter(({ task }) => task === "caption" || task === "cot").map((request) => partsOf(request).flatMap((part) => (part.type === "jpeg" ? [part.data] : [])));
    expect(jpegs[0]!.length).toBeGreaterThan(1);
    for (const data of jpegs[0]!) expect([...data.subarray(0, 2)]).toEqual([0xff, 0xd8]);
    expect(jpegs[1]).toEqual(jpegs[0]);
    const config = parseCurationConfig({ ...settings("http://127.0.0.1:9/v1"), workdir: folder, ...more });
    const ledger = openSqliteLedger(join(folder, "ledger.db"));
    const record = (await ledger.drama(good!.drama.dramaId))!;
    await ledger.close();
    expect(JSON.parse(await readFile(frameManifestPath(config, record, 1)!, "utf8"))).toMatchObject({ kind: "dramascope.frames" });
  });
});
