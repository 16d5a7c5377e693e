import { QwenVlError } from "../errors.ts";
import type { Prompt } from "../prompt-types.ts";

/** Refuses ids that the embedding has no row for; on the back end they would silently become other rows. */
export function checkIds(ids: ArrayLike<number>, vocabSize: number, where: string): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new QwenVlError(`${where}: token ${i} is ${id}, outside 0 … ${vocabSize - 1}`, { code: "BAD_TOKEN", hint: "Ids must be those of this checkpoint's tokenizer." });
    }
  }
}

/** Refuses a prompt whose tokens or positions the model has no place for. */
export function checkPrompt({ ids, positionIds, nextPosition }: Pick<Prompt, "ids" | "positionIds" | "nextPosition">, vocabSize: number, where: string): void {
  if (ids.length === 0) throw new QwenVlError(`${where} has no tokens`, { code: "EMPTY_PROMPT", hint: "Nothing precedes the first token, so nothing predicts it; give at least one token." });
  checkPositions(positionIds, ids.length, where);
  if (!Number.isSafeInteger(nextPosition)) throw new QwenVlError(`${where}: nextPosition is ${nextPosition}, expected an integer`, { code: "BAD_POSITIONS", hint: "Use prepare() to build prompts." });
  checkIds(ids, vocabSize, where);
}

/** Refuses positions that are not three for each token. */
export function checkPositions(positionIds: Int32Array, tokens: number, where: string): void {
  if (positionIds.length !== 3 * tokens) throw new QwenVlError(`${where}: positionIds has ${positionIds.length} entries, ${tokens} tokens need ${3 * tokens}`, { code: "BAD_POSITIONS", hint: "Use prepare() to build prompts." });
}
