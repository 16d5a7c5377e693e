import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { fixture, run } from "./cli.ts";

const VERTICAL = fixture("clips/tears-of-steel-vertical-540x960.mp4");
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-frames-"));
  process.env["XDG_CACHE_HOME"] = join(folder, "home-cache");
  return async () => {
    delete process.env["XDG_CACHE_HOME"];
    await rm(folder, { recursive: true, force: true });
  };
});

/** What `--json` printed. */
const json = (text: string): Record<string, never> => JSON.parse(text.trim().split("\n").at(-1)!) as Record<string, never>;

describe("frames", () => {
  it("prints the plan without decoding anything", async () => {
    const { code, stdout } = await run("frames", VERTICAL, "--plan-only");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^#\s+episode.*\n1\s+tears-of-steel-vertical-540x960\.mp4\s+540 x 960\s+70\.\d\d\s+72\s+420 x 784\s+15120\s+0 to 70\n/u);
    expect(stdout).toContain("one frame every 1 s, 15120 tokens");
    expect(await readdir(folder)).toEqual([]);
  });

  it("writes what it can, names what it cannot, and ends with 3", async () => {
    const drama = join(folder, "drama");
    await mkdir(drama);
    await copyFile(VERTICAL, join(drama, "2.mp4"));
    await writeFile(join(drama, "10.mp4"), "#EXTM3U\n/etc/passwd\n");
    const out = join(folder, "out");
    const { code, stdout, stderr } = await run("frames", drama, "--out", out, "--budget", "400", "--sheet", "--json", "--quiet", "--position", "top_left");
    expect(code).toBe(3);
    expect(stderr).toContain(`VIDEO_FORMAT_REFUSED: ${join(drama, "10.mp4")}`);
    expect(json(stdout)).toMatchObject({
      episodes: [{ path: join(drama, "2.mp4"), ok: true, frames: 12, manifest: join(out, "1", "manifest.json") }, { path: join(drama, "10.mp4"), ok: false, code: "VIDEO_FORMAT_REFUSED", frames: 0, manifest: null }],
      plan: { strideSeconds: 6 },
    });
    expect((await readdir(out)).sort()).toEqual(["1", "contact-sheet-1.png"]);
    expect(JSON.parse(await readFile(join(out, "1", "manifest.json"), "utf8"))).toMatchObject({ overlay: { position: "top_left" } });
  });

  it("keeps frames in the user's cache folder, unless that is not wanted", async () => {
    const kept = async (): Promise<number> => (await readdir(join(folder, "home-cache", "dramascope", "frames", "objects"), { recursive: true })).filter((name) => name.endsWith("manifest.json")).length;
    expect(await kept()).toBe(1);
    const args = ["frames", VERTICAL, "--out", join(folder, "plain"), "--budget", "300"];
    expect((await run(...args, "--no-cache", "--no-number")).code).toBe(0);
    expect(await kept()).toBe(1);
    expect((await run(...args)).code).toBe(0);
    expect(await kept()).toBe(2);
  });

  it.each([
    [["frames", VERTICAL], 2, "--out is missing"],
    [["frames", VERTICAL, "--out", "x", "--clock", "sundial"], 2, "sundial"],
    [["frames", VERTICAL, "--out", "x", "--processes", "0"], 2, "--processes"],
    [["frames", VERTICAL, "--out", "x", "--ffmpeg", "/nonexistent"], 4, "FFMPEG_UNUSABLE"],
    [["frames", VERTICAL, VERTICAL, VERTICAL, VERTICAL, VERTICAL, VERTICAL, "--out", "x"], 2, "PLAN_EPISODES"],
    [["frames", VERTICAL, "--out", "x", "--budget", "10"], 2, "PLAN_BUDGET_TOO_SMALL"],
    [["frames", "https://example.com/a.mp4?sig=canary-91", "--out", "x"], 3, "VIDEO_PATH_REFUSED"],
    [["frames", "https://127.0.0.1/a.mp4?sig=canary-91", "--out", "x", "--fetch"], 3, "VIDEO_PATH_REFUSED"],
  ])("%j ends with %i and says why", async (args, code, word) => {
    const result = await run(...args);
    expect([result.code, result.stderr]).toEqual([code, expect.stringContaining(word)]);
    expect(result.stderr + result.stdout).not.toContain("canary-91");
  });
});
