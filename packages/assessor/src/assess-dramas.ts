import type { Assessment } from "@dramascope/schema";
import { checkOptions } from "./assess-options.ts";
import { assessModes, type AssessOptions, type DramaToAssess, type ScoreMode } from "./assess.ts";

/** Options of {@link assessDramas}. */
export interface AssessDramasOptions extends Omit<AssessOptions, "mode"> {
  /** Default `ensemble` alone. */
  modes?: readonly ScoreMode[];
}

/** One drama with its records. */
export interface AssessedDrama<D extends DramaToAssess> {
  /** As it was given. */
  drama: D;
  /** One record a mode. */
  assessments: Map<ScoreMode, Assessment>;
}

/**
 * Assesses any number of dramas with one model, in bounded memory: the next drama is asked for when the one before has been taken, and
 * only one drama's features are held. Each drama's frames are encoded once for all modes. The records are those of one call a drama.
 *
 * @param dramas Best an async generator that decodes a drama when it is asked for.
 * @throws AssessorError for options, before the first drama is asked for. What the source throws, what the model throws, or the signal's reason; the source is closed then.
 */
export async function* assessDramas<D extends DramaToAssess>(dramas: Iterable<D> | AsyncIterable<D>, options: AssessDramasOptions): AsyncGenerator<AssessedDrama<D>, void, undefined> {
  const { modes = ["ensemble"], ...rest } = options;
  checkOptions(modes, rest);
  for await (const drama of dramas) yield { drama, assessments: await assessModes(drama, modes, rest) };
}
