import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { readSettings } from "../src/settings-file.ts";

const schema = z.strictObject({
  teacher: z.strictObject({ model: z.string(), apiKeyEnv: z.string().optional(), limits: z.strictObject({ rpm: z.int().optional() }).prefault({}) }),
  rounds: z.strictObject({ temperature: z.array(z.number()).default([1]) }).prefault({}),
  bands: z.array(z.strictObject({ in: z.number(), out: z.number() })).default([]),
  ledger: z.discriminatedUnion("driver", [z.strictObject({ driver: z.literal("sqlite"), path: z.string() }), z.strictObject({ driver: z.literal("postgres"), urlEnv: z.string() })]).optional(),
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-settings-"));
});

async function read(text: string, flags?: Parameters<typeof readSettings>[2]): Promise<unknown> {
  const path = join(folder, "c.yaml");
  await writeFile(path, text);
  return (await readSettings(path, schema, flags)).settings;
}

const failure = async (text: string, flags?: Parameters<typeof readSettings>[2]): Promise<string> => {
  const error = (await read(text, flags).then(() => undefined, (caught: unknown) => caught)) as { code: string; message: string; hint: string };
  expect(error.code).toBe("CONFIG_INVALID");
  return `${error.message.replaceAll(folder, "").replaceAll("/c.yaml", "c.yaml")} → ${error.hint}`;
};

describe("a file of settings", () => {
  it("is read with defaults, under what flags say", async () => {
    expect(await read("# remark\nteacher:\n  model: a\n  apiKeyEnv: ${MY_KEY}\n", { set: ["teacher.model=b", "rounds.temperature=[0.5]", "teacher.limits.rpm=60"], over: { "--rpm": { teacher: { limits: { rpm: 30 } } } } })).toEqual({ teacher: { model: "b", apiKeyEnv: "MY_KEY", limits: { rpm: 30 } }, rounds: { temperature: [0.5] }, bands: [] });
  });

  it.each([
    ["an unknown name", "teacher:\n  model: a\n  limits:\n    rpn: 3\n", "c.yaml:4:5: teacher.limits.rpn is no setting; did you mean teacher.limits.rpm?"],
    ["one in a list", "teacher: { model: a }\nbands:\n  - { in: 1, out: 2 }\n  - { in: 1, aut: 2 }\n", "c.yaml:4:14: bands.1.aut is no setting; did you mean bands.1.out?"],
    ["one in one of several forms", "teacher: { model: a }\nledger: { driver: sqlite, pth: x }\n", "c.yaml:2:27: ledger.pth is no setting; did you mean ledger.path?"],
    ["a name of JavaScript's own", "teacher: { model: a }\n__proto__: { x: 1 }\n", "c.yaml:2:1: __proto__ is no setting; did you mean rounds?"],
    ["a wrong value", "teacher:\n  model: 5\n", "c.yaml:2:3: teacher.model: Invalid input: expected string, received number"],
    ["a value in a list", "teacher: { model: a }\nrounds:\n  temperature: [1, x]\n", "c.yaml:3:20: rounds.temperature.1: Invalid input: expected number, received string"],
    ["a missing one", "rounds:\n  temperature: [1]\n", "c.yaml: teacher: Invalid input: expected object, received undefined"],
    ["a name twice", "teacher: { model: a }\nteacher: { model: b }\n", "c.yaml:2:1: Map keys must be unique"],
    ["broken YAML", "teacher:\n  - model: [a\n", "c.yaml:3:1: Flow sequence in block collection must be sufficiently indented and end with a ]"],
    ["code", "teacher: !!js/function 'x'\n", "c.yaml:1:10: Unresolved tag: tag:yaml.org,2002:js/function"],
    ["an alias bomb", `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c]\n`, "c.yaml: Excessive alias count indicates a resource exhaustion attack"],
    ["a list", "- a\n", "c.yaml must hold settings by name"],
    ["a variable where none is looked at", "teacher:\n  model: x-${HOME}\n", "c.yaml:2:3: teacher.model holds ${…}, which only settings whose names end in Env may"],
  ])("is refused for %s, with its place", async (_what, text, message) => {
    expect(await failure(text)).toContain(message);
  });

  it.each([
    ["teacher:\n  model: a\n  apiKey: sk-canary-4711\n", "c.yaml:3:3: teacher.apiKey is no setting → Keys do not belong in a file: put it into the environment, and the variable's name into teacher.apiKeyEnv."],
    ["teacher:\n  model: a\n  apiKeyEnv: sk-canary-4711\n", "c.yaml:3:3: teacher.apiKeyEnv is not the name of an environment variable"],
  ])("never shows a key that somebody put into it", async (text, message) => {
    const shown = await failure(text);
    expect(shown).toContain(message);
    expect(shown).not.toContain("sk-canary-4711");
  });

  it("says of a wrong flag that it was the flag", async () => {
    expect(await failure("teacher: { model: a }\n", { set: ["teacher.modle=b"] })).toContain("--set: teacher.modle is no setting; did you mean teacher.model?");
    expect(await failure("teacher: { model: a }\n", { set: ["rounds.temperature=x"] })).toContain("--set: rounds.temperature: Invalid input");
    await expect(read("teacher: { model: a }\n", { set: ["rounds"] })).rejects.toMatchObject({ code: "USAGE" });
  });

  it("is asked for by name when it is not there", async () => {
    await expect(readSettings(join(folder, "none.yaml"), schema)).rejects.toMatchObject({ code: "CONFIG_INVALID", hint: "Give the path of a YAML file by --config; dramascope init makes one." });
  });
});
