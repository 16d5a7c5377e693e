import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadQwenVl, planPull, pullModel, type PullOptions, type PullPlan, type PullResult } from "@dramascope/qwen-vl";
import type { Progress } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { describe, expect, it } from "vitest";
import { expectWhole, hub, hubForEach, out, pull, read, SECOND, WANTED, withCode, type TestHub } from "./pull-hub.ts";

hubForEach();

/** The error that a pull ends with. */
const failureOf = (options: PullOptions): Promise<Error> => pull(options).then(() => expect.unreachable(), (error: unknown) => error as Error);
const exists = (path: string): Promise<boolean> => stat(path).then(() => true, () => false);
/** Names of the files whose bytes were asked for. */
const askedFiles = (): string[] => hub.seen.filter(({ path }) => path.includes("/resolve/")).map(({ path }) => path.split("/").at(-1)!);

describe("a pull", () => {
  it("fetches what a checkpoint needs and nothing that could run; the model loads", async () => {
    const plans: PullPlan[] = [];
    const progress: Progress[] = [];
    const result = await pull({ onPlan: (plan) => plans.push(plan), onProgress: (one) => progress.push(one) });
    await expectWhole();
    const bytes = WANTED.reduce((sum, name) => sum + hub.files.get(name)!.length, 0);
    expect(result).toMatchObject({ repo: hub.repo, commit: hub.commit, folder: out, bytes, fetchedBytes: bytes });
    expect(plans).toEqual([expect.objectContaining({ bytes, presentBytes: 0, freeBytes: expect.any(Number) as number })]);
    expect(progress.at(-1)).toMatchObject({ phase: "pull", done: bytes, total: bytes });
    const pulled = JSON.parse((await read("pulled.json")).toString()) as PullResult;
    expect(pulled).toMatchObject({ repo: hub.repo, revision: "main", commit: hub.commit });
    expect(pulled.files.map(({ name, algorithm }) => [name, algorithm]).sort()).toEqual(WANTED.map((name) => [name, name.endsWith(".safetensors") ? "sha256" : "git-sha1"]));
    const { tf } = await loadTensorFlow({ threads: 1 });
    (await loadQwenVl(out, { tf })).dispose();
  });

  it("does nothing the second time", async () => {
    await pull();
    const before = hub.seen.length;
    expect((await pull()).fetchedBytes).toBe(0);
    expect(hub.seen.slice(before).map(({ path }) => path.split("?")[0])).toEqual([`/api/models/${hub.repo}/revision/main`]);
    await expectWhole();
  });

  it("can be planned without writing anything", async () => {
    const plan = await planPull(hub.repo, { endpoint: hub.endpoint, out });
    expect(plan.files.map(({ name }) => name).sort()).toEqual(WANTED);
    expect(await exists(out)).toBe(false);
  });

  it("of a newer commit fetches what changed and removes what went", async () => {
    await pull();
    hub.commit = "f".repeat(40);
    hub.files.set("generation_config.json", Buffer.from("{}"));
    hub.files.delete("preprocessor_config.json");
    const before = hub.seen.length;
    expect((await pull()).fetchedBytes).toBe(2);
    expect(hub.seen.slice(before).filter(({ at }) => at === "store")).toEqual([]);
    expect((await read("generation_config.json")).toString()).toBe("{}");
    expect(await exists(join(out, "preprocessor_config.json"))).toBe(false);
  });

  it("mends a complete folder that lost a file", async () => {
    await pull();
    await truncate(join(out, SECOND), 10);
    await pull();
    await expectWhole();
  });

  it("ends with an error of its own where a name is taken", async () => {
    hub.disturb = (_, name) => (name === SECOND ? { status: 418 } : undefined);
    await expect(pull()).rejects.toThrow(withCode("HUB_DAMAGED"));
    await mkdir(join(out, SECOND));
    hub.disturb = () => undefined;
    await expect(pull()).rejects.toThrow(withCode("PULL_FOLDER"));
  });

  it("takes empty files and unnumbered weights", async () => {
    for (const name of [...hub.files.keys()].filter((one) => one.includes("-of-") || one.endsWith("index.json"))) hub.files.delete(name);
    hub.files.set("model.safetensors", Buffer.from("weights"));
    hub.files.set("merges.txt", Buffer.alloc(0));
    await pull();
    expect((await read("merges.txt")).length).toBe(0);
    expect((await read("model.safetensors")).toString()).toBe("weights");
  });
});

describe("going on", () => {
  it("after a kill fetches no byte twice", async () => {
    hub.disturb = (_, name) => (name === SECOND ? { hangAfter: 100_000 } : undefined);
    const code = `import { pullModel } from "@dramascope/qwen-vl"; await pullModel(${JSON.stringify(hub.repo)}, ${JSON.stringify({ endpoint: hub.endpoint, out })});`;
    const child = spawn(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", code], { cwd: fileURLToPath(new URL("..", import.meta.url)), stdio: "inherit" });
    await expect.poll(() => stat(join(out, `${SECOND}.part`)).then(({ size }) => size, () => 0), { timeout: 20_000 }).toBe(100_000);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(await exists(join(out, "pulled.json"))).toBe(false);
    hub.disturb = () => undefined;
    const plans: PullPlan[] = [];
    const { fetchedBytes, bytes } = await pull({ onPlan: (plan) => plans.push(plan) });
    await expectWhole();
    expect(hub.sent.get(SECOND)).toEqual([[0, 100_000], [100_000, hub.files.get(SECOND)!.length]]);
    expect(hub.sent.get("model-00001-of-00004.safetensors")).toHaveLength(1);
    expect(plans[0]!.presentBytes).toBe(bytes - fetchedBytes);
  });

  it("after being stopped, too", async () => {
    hub.disturb = (_, name) => (name === SECOND ? { hangAfter: 50_000 } : undefined);
    const abort = new AbortController();
    const stopped = pull({ signal: abort.signal, onProgress: ({ note }) => note === SECOND && setTimeout(() => abort.abort(), 100) });
    await expect(stopped).rejects.toThrow(expect.objectContaining({ name: "AbortError" }) as Error);
    hub.disturb = () => undefined;
    await pull();
    await expectWhole();
    expect(hub.sent.get(SECOND)).toEqual([[0, 50_000], [50_000, hub.files.get(SECOND)!.length]]);
  });

  it("within one pull when connections break or stand still", async () => {
    let count = 0;
    hub.disturb = (_, name) => (name !== SECOND || ++count > 5 ? undefined : count % 2 === 1 ? { cutAfter: 40_000 } : { hangAfter: 30_000 });
    await pull({ idleSeconds: 0.2 });
    await expectWhole();
    expect(hub.sent.get(SECOND)!.map(([start]) => start)).toEqual([0, 40_000, 70_000, 110_000, 140_000, 180_000]);
  });

  it("starts again where a server knows no ranges", async () => {
    let count = 0;
    hub.disturb = (_, name) => (name === SECOND ? { withoutRanges: true, ...(++count === 1 ? { cutAfter: 100_000 } : {}) } : undefined);
    await pull();
    await expectWhole();
    count = 0;
    hub.disturb = (_, name) => (name === SECOND ? { withoutRanges: true, cutAfter: 100_000 } : undefined);
    await expect(pull({ out: `${out}-2` })).rejects.toThrow(withCode("HUB_UNAVAILABLE"));
  });

  it("starts again when the old beginning is wrong", async () => {
    hub.disturb = (_, name) => (name === SECOND ? { status: 500 } : undefined);
    await expect(pull()).rejects.toThrow(withCode("HUB_UNAVAILABLE"));
    await writeFile(join(out, `${SECOND}.part`), Buffer.alloc(5000));
    hub.disturb = () => undefined;
    await pull();
    await expectWhole();
  });
});

describe("a server", () => {
  it("whose bytes are not the announced ones is not believed", async () => {
    hub.changeListing = (entries) => entries.map((entry) => (entry["path"] === SECOND ? { ...entry, lfs: { oid: "a".repeat(64), size: entry["size"] } } : entry));
    await expect(pull()).rejects.toThrow(withCode("HUB_DAMAGED"));
    expect(await exists(join(out, SECOND))).toBe(false);
    expect((await stat(join(out, `${SECOND}.part`))).size).toBe(0);
    expect(await exists(join(out, "pulled.json"))).toBe(false);
  });

  it.each([
    ["a body that always ends early", { cutAfter: 0 }, "HUB_UNAVAILABLE"],
    ["an answer of more bytes", { status: 200, body: "x".repeat(400_000) }, "HUB_DAMAGED"],
    ["another range", { status: 206, headers: { "content-range": "bytes 5-9/10" }, body: "xxxxx" }, "HUB_DAMAGED"],
    ["no range", { status: 206, body: "xxxxx" }, "HUB_DAMAGED"],
    ["a strange status", { status: 418 }, "HUB_DAMAGED"],
    ["a redirect to a plain address elsewhere", { status: 302, headers: { location: "http://192.0.2.1/x" } }, "HUB_DAMAGED"],
    ["a redirect to a file", { status: 302, headers: { location: "file:///etc/passwd" } }, "HUB_DAMAGED"],
    ["a redirect without end", { status: 302, headers: { location: "?again" } }, "HUB_DAMAGED"],
    ["trouble that stays", { status: 503 }, "HUB_UNAVAILABLE"],
  ] as [string, NonNullable<ReturnType<TestHub["disturb"]>>, string][])("that gives %s ends the pull", async (_, disturbance, code) => {
    hub.disturb = (__, name) => (name === SECOND ? disturbance : undefined);
    await expect(pull()).rejects.toThrow(withCode(code));
    expect(await exists(join(out, SECOND))).toBe(false);
  });

  it("that asks for patience gets it", async () => {
    let count = 0;
    const waits: string[] = [];
    hub.disturb = (_, name) => (name === SECOND && ++count <= 2 ? { status: 429, headers: count === 1 ? { "retry-after": "0" } : { date: "Thu, 01 Jan 2026 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2026 00:00:01 GMT" } } : undefined);
    await pull({ firstWaitSeconds: 300, onProgress: ({ phase, note }) => phase === "wait" && waits.push(note!) });
    await expectWhole();
    expect(waits.map((note) => /next try in .*/u.exec(note)![0])).toEqual(["next try in 0 s", "next try in 1 s"]);
  });

  it("that is not there is said at once", async () => {
    await expect(pull({ endpoint: "http://127.0.0.1:9", firstWaitSeconds: 300 })).rejects.toThrow(withCode("HUB_UNAVAILABLE"));
  });

  it("that is no hub is said to be none", async () => {
    hub.changeListing = () => ({ slice: () => 7 }) as never;
    await expect(pull()).rejects.toThrow(withCode("HUB_DAMAGED"));
    hub.commit = "main";
    await expect(pull()).rejects.toThrow(withCode("HUB_DAMAGED"));
  });
});

describe("a token", () => {
  const token = "hf_canary_1234567890";

  it("goes to the hub and not to where it redirects, and is written nowhere", async () => {
    hub.token = token;
    await pull({ token });
    await expectWhole();
    expect(hub.seen.filter(({ at }) => at === "store").length).toBe(4);
    for (const { at, authorization } of hub.seen) expect(authorization).toBe(at === "hub" ? `Bearer ${token}` : undefined);
    for (const name of await readdir(out)) {
      const text = (await read(name)).toString("latin1");
      expect(text.includes(token) || text.includes("secret-signature")).toBe(false);
    }
  });

  it.each([[undefined], ["hf_wrong_canary"]])("that is missing or wrong is an error without it (%s)", async (given) => {
    hub.token = token;
    const error = await failureOf({ token: given });
    expect(error).toEqual(withCode("PULL_DENIED"));
    expect(JSON.stringify([String(error), error.stack, error])).not.toContain("hf_");
  });

  it("that is malformed is an error without it", async () => {
    const error = await failureOf({ token: "hf_canary\nx" });
    expect(error).toEqual(withCode("PULL_OPTIONS"));
    expect(String(error)).not.toContain("hf_canary");
  });

  it("and signed addresses stay out of errors", async () => {
    hub.disturb = (_, name) => (name === SECOND ? { status: 410 } : undefined);
    const error = await failureOf({ token });
    expect(`${error.message}${JSON.stringify(error)}${String(error.cause)}`).not.toMatch(/secret-signature|hf_canary/u);
  });
});

describe("what is asked for", () => {
  it.each([
    [{ repo: "nobody/nothing" }, "PULL_NOT_FOUND"],
    [{ revision: "no-such" }, "PULL_NOT_FOUND"],
    [{ repo: "../etc" }, "PULL_OPTIONS"],
    [{ repo: "a/b/c" }, "PULL_OPTIONS"],
    [{ repo: "a/..b" }, "PULL_OPTIONS"],
    [{ revision: "../../x" }, "PULL_OPTIONS"],
    [{ revision: "a b" }, "PULL_OPTIONS"],
    [{ endpoint: "http://example.com" }, "PULL_OPTIONS"],
    [{ endpoint: "https://user:pass@example.com" }, "PULL_OPTIONS"],
    [{ endpoint: "nonsense" }, "PULL_OPTIONS"],
    [{ attempts: 0 }, "PULL_OPTIONS"],
    [{ firstWaitSeconds: NaN }, "PULL_OPTIONS"],
    [{ idleSeconds: 0 }, "PULL_OPTIONS"],
  ] as [PullOptions & { repo?: string }, string][])("%j is refused", async ({ repo = hub.repo, ...options }, code) => {
    await expect(pullModel(repo, { endpoint: hub.endpoint, out, ...options })).rejects.toThrow(withCode(code));
    expect(await exists(out)).toBe(false);
  });

  it.each([
    ["holds other things", async () => writeFile(join(out, "notes.txt"), "mine"), "PULL_FOLDER"],
    ["belongs to another repository", async () => writeFile(join(out, "pulled.json"), JSON.stringify({ repo: "other/one", revision: "main", commit: "0", files: [] })), "PULL_FOLDER"],
    ["has a damaged list", async () => writeFile(join(out, "pulled.json"), JSON.stringify({ repo: hub.repo, revision: "main", commit: "0", files: [{ name: "../../secret", bytes: 1, algorithm: "sha256", digest: "" }] })), "PULL_FOLDER"],
  ])("a folder that %s is left alone", async (_, prepare, code) => {
    await mkdir(out);
    await prepare();
    const before = await readdir(out);
    await expect(pull()).rejects.toThrow(withCode(code));
    expect(await readdir(out)).toEqual(before);
  });

  it("that does not fit on the disk is refused before anything is written", async () => {
    hub.changeListing = (entries) => entries.map((entry) => (entry["path"] === SECOND ? { ...entry, lfs: { oid: "a".repeat(64), size: 2 ** 42 } } : entry));
    await expect(pull()).rejects.toThrow(withCode("PULL_NO_ROOM"));
    expect(await exists(out)).toBe(false);
    expect(askedFiles()).toEqual(["config.json"]);
  });

  it("and is another kind of model is refused before anything is written", async () => {
    hub.files.set("config.json", Buffer.from('{"model_type": "llama"}'));
    await expect(pull()).rejects.toThrow(expect.objectContaining({ name: "QwenVlError", message: expect.stringContaining("llama") as string }) as Error);
    expect(await exists(out)).toBe(false);
  });
});

describe("a full disk", () => {
  it("is an error with what to do, and the pull goes on later", async () => {
    // The shell limits files to 200 kB; writing beyond it fails as on a full disk.
    const code = `import { pullModel } from "@dramascope/qwen-vl"; await pullModel(${JSON.stringify(hub.repo)}, ${JSON.stringify({ endpoint: hub.endpoint, out })}).catch((error) => console.log(error.code));`;
    const child = spawn("sh", ["-c", 'trap "" XFSZ; ulimit -f 400; exec "$0" "$@"', process.execPath, "--conditions=@dramascope/source", "--input-type=module-typescript", "-e", code], { cwd: fileURLToPath(new URL("..", import.meta.url)), stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    await once(child, "close");
    expect(output.trim()).toBe("OUTPUT_UNWRITABLE");
    await pull();
    await expectWhole();
    expect(hub.sent.get("model-00001-of-00004.safetensors")!.map(([start]) => start)).toEqual([0, 204_800]);
  });
});
