import { canonicalJson } from "@dramascope/schema";
import type { DatabaseSync } from "node:sqlite";
import { checkNames } from "./storable-text.ts";
import type { Gate, Generation, Json } from "./generation-types.ts";

/** Generations and gates of a ledger's file; what writes runs inside a transaction. */
export interface SettingTable {
  generations(): Generation[];
  openGeneration(identity: string, settings: Json, startedAt: string): Generation;
  gates(generation: number): Gate[];
  setGate(gate: Gate): void;
}

/** Prepares access to generations and gates. */
export function settingTable(database: DatabaseSync): SettingTable {
  const insert = database.prepare("INSERT INTO generations (identity, settings, started_at) VALUES (?, ?, ?) ON CONFLICT (identity) DO NOTHING");
  const all = database.prepare("SELECT generation, identity, settings, started_at AS startedAt FROM generations ORDER BY generation");
  const decide = database.prepare("INSERT INTO gates VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
  const gates = database.prepare("SELECT generation, quality, round, is_open AS isOpen, cost, new_dramas AS newDramas FROM gates WHERE generation = ? ORDER BY quality, round");
  const generations = (): Generation[] => (all.all() as unknown as (Omit<Generation, "settings"> & { settings: string })[]).map(({ settings, ...rest }) => ({ ...rest, settings: JSON.parse(settings) as Json }));
  return {
    generations,
    openGeneration: (identity, settings, startedAt) => {
      checkNames("the generation's identity", identity);
      insert.run(identity, canonicalJson(settings), startedAt);
      return generations().find((one) => one.identity === identity)!;
    },
    gates: (generation) => (gates.all(generation) as unknown as (Omit<Gate, "isOpen"> & { isOpen: number })[]).map((gate) => ({ ...gate, isOpen: gate.isOpen === 1 })),
    setGate: ({ generation, quality, round, isOpen, cost, newDramas }) => void decide.run(generation, quality, round, Number(isOpen), cost, newDramas),
  };
}
