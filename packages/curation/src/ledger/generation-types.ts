import type { Quality } from "@dramascope/schema";

/** A JSON value. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** Answers under one identity of prompts, model and sampling. */
export interface Generation {
  /** From 1. */
  generation: number;
  /** Hash of everything that makes answers another generation's. */
  identity: string;
  /** What the identity was made from, for people to compare. */
  settings: Json;
  /** ISO 8601, UTC. */
  startedAt: string;
}

/** Whether a class may go on with a round. */
export interface Gate {
  /** Generation that it is about. */
  generation: number;
  /** Class that it is about. */
  quality: Quality;
  /** Round that it opens or closes, from 2. */
  round: number;
  /** Whether the round is asked. */
  isOpen: boolean;
  /** Money that the round before cost in this class. */
  cost: number;
  /** Dramas that the round before gave their first valid sample. */
  newDramas: number;
}
