import { curationConfig, parseCurationConfig } from "@dramascope/curation";
import { describe, expect, it } from "vitest";
import { z } from "zod";

const base = { teacher: { baseURL: "https://provider.example/v1", model: "some-teacher" } };

describe("settings", () => {
  it("take the documented form", () => {
    const config = parseCurationConfig({
      version: 1,
      input: { dramas: "data/dramas.jsonl", labels: "data/labels.jsonl", mediaRoots: ["data/media"] },
      workdir: "runs/first",
      teacher: {
        ...base.teacher,
        apiKeyEnv: "TEACHER_API_KEY",
        media: "frames",
        capabilities: { jsonSchema: false, metadata: false },
        limits: { rpm: 600, tpm: 2_000_000, inFlight: 64 },
        timeouts: { callMs: 900_000 },
        prices: { currency: "USD", date: "2026-11-01", bands: [{ upTo: 131_072, in: 0.25, out: 2, hit: 0.05 }] },
      },
      split: { mode: "split-first", seed: "drama-1", evalPerClass: 200, sftSize: 10_000 },
      rounds: { min: 1, max: 8, stopAfterValid: 1, temperature: [0.7, 0.8, 0.9, 1], topP: 0.95 },
      filter: { votes: 1, preflagsReject: false },
      comments: { max: 20, shape: "indexed" },
      select: { cotPerDrama: 1, seed: "pick-1" },
      balance: "none",
      budget: { maxCost: 200 },
      ledger: { driver: "sqlite", path: "runs/first/ledger.db" },
      export: { dir: "runs/first/export", formats: ["jsonl"] },
    });
    expect(config.rounds.perClassMax).toEqual({ 1: 16, 5: 16 });
    expect(parseCurationConfig({ ...base, ledger: { driver: "postgres", urlEnv: "DATABASE_URL" } }).ledger).toEqual({ driver: "postgres", urlEnv: "DATABASE_URL" });
  });

  it.each<[string, object, string]>([
    ["a password in an address", { teacher: { ...base.teacher, baseURL: "https://me:secret@provider.example/v1" } }, "teacher.baseURL: must not hold a name, a password or a query; name the key's variable in apiKeyEnv"],
    ["prices that do not rise", { teacher: { ...base.teacher, prices: { currency: "USD", date: "2026-11-01", bands: [{ in: 0.1, out: 1 }, { upTo: 1000, in: 9, out: 9 }] } } }, "teacher.prices.bands: must rise in upTo; only the last one may do without"],
    ["an unknown name", { roundz: {} }, "roundz is no setting; did you mean rounds?"],
    ["an unknown name inside", { rounds: { maxx: 3 } }, "rounds.maxx is no setting; did you mean rounds.max?"],
    ["one in a list", { teacher: { ...base.teacher, prices: { currency: "USD", date: "2026-11-01", bands: [{ in: 1, ouut: 2, out: 2 }] } } }, "teacher.prices.bands.0.ouut is no setting; did you mean teacher.prices.bands.0.out?"],
    ["one of the other ledger", { ledger: { driver: "sqlite", path: "x", urlEnvv: "Y" } }, "ledger.urlEnvv is no setting; did you mean ledger.urlEnv?"],
    ["an even number of votes", { filter: { votes: 2 } }, "filter.votes: must be odd"],
    ["more rounds than allowed", { rounds: { min: 9, max: 3 } }, "rounds.min: must not exceed rounds.max"],
    ["a key where its variable belongs", { teacher: { ...base.teacher, apiKeyEnv: "sk-canary-4711" } }, "teacher.apiKeyEnv: must be the name of an environment variable, not a value"],
    ["no number", { budget: { maxCost: "much" } }, "budget.maxCost: Invalid input: expected number"],
  ])("are refused with %s", (_, more, message) => {
    expect(() => parseCurationConfig({ ...base, ...more })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(message) as string }) as Error);
    expect(() => parseCurationConfig({ ...base, ...more })).not.toThrow("4711");
  });

  it("have a JSON Schema", () => {
    expect(z.toJSONSchema(curationConfig, { io: "input" })).toMatchObject({ type: "object", additionalProperties: false, required: ["teacher"] });
  });
});
