import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { curationConfig } from "@dramascope/curation";
import { drama, hotValueRecord, readJsonl } from "@dramascope/schema";
import { beforeAll, describe, expect, it } from "vitest";
import { run } from "./cli.ts";
import { filesBelow } from "./curate-project.ts";
import { readSettings } from "../src/settings-file.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-init-"));
});
const at = (...names: string[]): string => join(folder, ...names);

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("init", () => {
  it("makes a project whose settings are valid and say what the defaults are", async () => {
    expect(await run("init", at("new"))).toMatchObject({ code: 0, stderr: expect.stringContaining("README.md has the next commands") as string });
    expect((await readdir(at("new"))).sort()).toEqual([".gitignore", "README.md", "data", "dramascope.schema.json", "dramascope.yaml", "grpo.yaml", "prompts", "sft.yaml"]);
    expect((await readdir(at("new", "data"))).sort()).toEqual(["README.md", "media"]);
    const { settings } = await readSettings(at("new", "dramascope.yaml"), curationConfig);
    expect(settings).toMatchObject({ teacher: { apiKeyEnv: "TEACHER_API_KEY", media: "frames" }, rounds: curationConfig.shape.rounds.parse(undefined), split: { evalPerClass: 200, sftSize: 10_000 }, ledger: { driver: "sqlite" } });
    for (const kind of ["sft", "grpo"]) expect((await run("train", kind, "--config", at("new", `${kind}.yaml`), "--print-config")).code).toBe(0);
    const schema = JSON.parse(await readFile(at("new", "dramascope.schema.json"), "utf8")) as { properties: object };
    expect(Object.keys(schema.properties)).toEqual(Object.keys(curationConfig.shape));
  });

  it("shows an own prompt that is taken as it stands", async () => {
    expect((await run("init", at("prompted"), "--sample")).code).toBe(0);
    const own = /```\n(---\n[^]*?)```/u.exec(await readFile(at("prompted", "prompts", "README.md"), "utf8"))![1]!;
    await writeFile(at("prompted", "prompts", "caption.md"), own);
    expect(await run("curate", "plan", "--config", at("prompted", "dramascope.yaml"), "--set", "prompts.dir=prompts")).toMatchObject({ code: 0 });
  });

  it("overwrites nothing", async () => {
    await mkdir(at("taken"));
    await writeFile(at("taken", "notes.txt"), "mine");
    expect((await run("init", at("taken"))).code).toBe(0);
    const before = filesBelow(at("taken"));
    const again = await run("init", at("taken"), "--sample");
    expect([again.code, again.stderr]).toEqual([2, expect.stringMatching(/^PROJECT_EXISTS: .*taken holds dramascope\.yaml, [^]*nothing is overwritten/u)]);
    expect(filesBelow(at("taken"))).toEqual(before);
    await writeFile(at("file"), "");
    expect((await run("init", at("file"))).code).not.toBe(0);
    expect((await run("init", at("x"), "--teacher", "ftp://y")).code).toBe(2);
  });

  it("makes up dramas, the same from the same seed", async () => {
    for (const [name, seed] of [["a", "1"], ["b", "1"], ["c", "2"]]) expect((await run("init", at(name!), "--sample", "--seed", seed!)).code).toBe(0);
    expect(filesBelow(at("a"))).toEqual(filesBelow(at("b")));
    expect(await readFile(at("a", "data", "dramas.jsonl"), "utf8")).not.toBe(await readFile(at("c", "data", "dramas.jsonl"), "utf8"));
    const [titles, classes] = [new Set<string>(), new Map<number, number>()];
    const onRejected = (line: unknown): never => {
      throw new Error(JSON.stringify(line));
    };
    for await (const { title, episodes } of readJsonl(at("a", "data", "dramas.jsonl"), drama, { onRejected })) {
      titles.add(title!);
      expect(episodes).toHaveLength(5);
    }
    for await (const { quality } of readJsonl(at("a", "data", "labels.jsonl"), hotValueRecord, { onRejected })) classes.set(quality!, (classes.get(quality!) ?? 0) + 1);
    expect([titles.size, [...classes.values()]]).toEqual([30, [6, 6, 6, 6, 6]]);
  });
});

/** The shell commands of a README, of the section that mentions a word. */
async function commandsOf(path: string, word: string): Promise<string> {
  const blocks = [...(await readFile(path, "utf8")).matchAll(/```sh\n([^]*?)```/gu)].map(([, block]) => block!);
  return blocks.find((block) => block.includes(word))!;
}

describe("the way from nothing to training sets", () => {
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const program = `"${process.execPath}" --conditions=@dramascope/source "${join(root, "packages", "cli", "src", "bin.ts")}"`;

  it("is what the README says, command by command", async () => {
    const port = await freePort();
    const text = (await commandsOf(join(root, "packages", "cli", "README.md"), "init ../my-project")).replaceAll("npm run dramascope --", program).replaceAll("8900", String(port)).replaceAll("../my-project", at("walk")).replace(/^node /mu, `"${process.execPath}" `);
    const { stdout } = await promisify(execFile)("sh", ["-e", "-c", text], { cwd: root });
    expect(stdout).toMatch(/SFT 15, GRPO 10, evaluation 5[^]*caption +\d+[^]*SFT dramas/u);
    const { counts } = JSON.parse(await readFile(at("walk", "runs", "first", "export", "manifest.json"), "utf8")) as { counts: Record<string, number> };
    expect(counts).toMatchObject({ samples: 25, grpo: 10, eval: 5 });
    expect(counts["sft"]).toBeGreaterThan(8);
    expect(await readFile(at("walk", "runs", "first", "report.html"), "utf8")).toMatch(/<\/html>/u);
  });

  it("goes on in the project by the commands of its own README", async () => {
    const own = (await commandsOf(at("walk", "README.md"), "curate plan")).split("\n").filter((line) => line.startsWith("dramascope "));
    expect(own.map((line) => line.split(" ")[2])).toEqual(["plan", "run", "status", "export", "report"]);
    // Everything is answered by now: the teacher has gone, and nobody asks for it.
    const text = own.map((line) => line.replace("dramascope", program)).join("\n");
    const { stdout } = await promisify(execFile)("sh", ["-e", "-c", text], { cwd: at("walk") });
    expect(stdout).toContain("nothing is open");
  });
});
