import { DramascopeError } from "@dramascope/schema";
import { TrainerError } from "./errors.ts";

/** What a run is doing. */
export type PhaseName = "load" | "rollout" | "reward" | "score" | "gradient" | "evaluate" | "save";

/** What a gradient call does, one after the other. */
export type GradientPart = "forward" | "backward";

/** Options of {@link PhaseWatch}. */
export interface PhaseWatchOptions {
  /** Seconds from any fixed start. */
  clock: () => number;
  /** Seconds after which a phase that still runs is reported, and again after each such time; 0 is off. */
  timeoutSeconds: number;
  /** Receives the reports. Default none. */
  onWarning?: ((text: string) => void) | undefined;
}

/** How native TensorFlow, wasm and JavaScript say that there is no memory. */
const NO_MEMORY = /\bOOM\b|out of memory|resource_?exhausted|array buffer allocation failed|invalid (?:typed )?array(?: buffer)? length|cannot enlarge memory|memory access out of bounds|failed to allocate|bad_alloc/iu;

const REMEDIES: Readonly<Record<PhaseName, string>> = {
  load: "Cut the frames of a sample, lower maxCachedTokens of the encoder, or load the model with dtype bfloat16.",
  rollout: "In this order: lower promptsPerStep, maxCompletionLength, then the frames of a sample; or load the model with dtype bfloat16.",
  reward: "Score over HTTP on another machine (rewardServer).",
  score: "In this order: lower maxCompletionLength, numGenerations, then the frames of a sample; or load the model with dtype bfloat16.",
  gradient: "In this order: lower completionChunk (SFT: maxBatchTokens), load the model with keepBytes 0, lower maxCompletionLength, then the frames of a sample; or load the model with dtype bfloat16.",
  evaluate: "Lower maxBatchTokens, then cut the frames of a sample; or load the model with dtype bfloat16.",
  save: "Close other programs; saving holds one copy of the adapter.",
};

/** Bytes of the float32 tensor that a message names by its shape. */
function askedBytes(message: string): number | undefined {
  const shape = /shape\s*\[(\d+(?:,\s*\d+){0,7})\]/u.exec(message)?.[1];
  return shape?.split(",").reduce((size, side) => size * Number(side), 4);
}

/** The error of a failed allocation with phase, place and remedy; any other error as it is. */
export function explainMemory(error: unknown, phase: PhaseName, about: string): unknown {
  if (!(error instanceof Error) || DramascopeError.isInstance(error) || !NO_MEMORY.test(error.message)) return error;
  const bytes = askedBytes(error.message);
  const asked = bytes === undefined ? "" : `; it asked for ${(bytes / 2 ** 20).toFixed(0)} MiB at once`;
  return new TrainerError(`out of memory in phase ${phase} (${about})${asked}`, { code: "OUT_OF_MEMORY", cause: error, hint: `${REMEDIES[phase]} The last checkpoint is good: the same command goes on from it.` });
}

/** Names what runs: reports phases that take too long, measures them, and says in which one memory ran out. */
export class PhaseWatch {
  readonly #options: PhaseWatchOptions;
  #seconds = new Map<PhaseName | GradientPart, number>();
  #lapStarted = 0;

  constructor(options: PhaseWatchOptions) {
    this.#options = options;
  }

  /**
   * Does work as a part of a phase.
   *
   * @param about The step, sample or server, for people.
   * @throws TrainerError `OUT_OF_MEMORY` in place of an allocation's error.
   */
  async run<T>(phase: PhaseName, about: string, work: () => Promise<T>): Promise<T> {
    const { clock, timeoutSeconds, onWarning } = this.#options;
    const started = clock();
    this.#lapStarted = started;
    const timer = timeoutSeconds === 0 ? undefined : setInterval(() => onWarning?.(`${phase} (${about}) has taken ${Math.round(clock() - started)} s`), timeoutSeconds * 1000);
    timer?.unref();
    try {
      return await work();
    } catch (error) {
      throw explainMemory(error, phase, about);
    } finally {
      clearInterval(timer);
      this.#add(phase, clock() - started);
    }
  }

  #add(phase: PhaseName | GradientPart, seconds: number): void {
    this.#seconds.set(phase, (this.#seconds.get(phase) ?? 0) + seconds);
  }

  /** Counts the time since the last such call, or since the phase began, to a part of the phase `gradient`, beside its own. */
  readonly lap = (part: GradientPart): void => {
    const now = this.#options.clock();
    this.#add(part, now - this.#lapStarted);
    this.#lapStarted = now;
  };

  /** Seconds of each phase since the last call. */
  takeSeconds(): ReadonlyMap<PhaseName | GradientPart, number> {
    const taken = this.#seconds;
    this.#seconds = new Map();
    return taken;
  }
}
