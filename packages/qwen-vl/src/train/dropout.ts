import { createRandom, sha256 } from "@dramascope/schema";
import { Arena } from "../arena.ts";
import type { ParameterView } from "../parameters.ts";
import type { Runtime } from "../runtime.ts";

/** Dropout of one gradient call. */
export interface Dropout {
  /** Share of an adapter's inputs that is dropped, above 0 and below 1. */
  share: number;
  /** The same seed drops the same entries. */
  seed: number;
}

/** Neighbouring rows that draw from a stream of their own: what they lose depends neither on other rows nor on padding after them. */
export interface RowPart {
  /** Unique in its call. */
  name: string;
  rows: number;
}

/** Dropout over the rows of a block. */
export interface RowDropout extends Dropout {
  /** All rows of the block, in their order. */
  parts: readonly RowPart[];
}

/**
 * What a module's adapter reads of its input, row-major [rows, width]: 1 with probability 1 − share, else 0, each entry alone. Gaps between
 * dropped entries are drawn from their geometric distribution, so that few numbers are needed where little is dropped.
 */
export function dropoutMask({ share, seed, parts }: RowDropout, module: string, width: number): Uint8Array {
  const mask = new Uint8Array(width * parts.reduce((sum, { rows }) => sum + rows, 0)).fill(1);
  const perLog = 1 / Math.log1p(-share);
  let start = 0;
  for (const { name, rows } of parts) {
    const end = start + rows * width;
    const random = createRandom(seed, { stream: Number.parseInt(sha256(`${module} ${name}`).slice(0, 8), 16) });
    const gap = (): number => Math.floor(Math.log(1 - random.uniform()) * perLog);
    for (let at = start + gap(); at < end; at += 1 + gap()) mask[at] = 0;
    start = end;
  }
  return mask;
}

/**
 * Calls `use` with the same parameters, every low-rank part masked; masks live as long as the call. Made again from the seed they are the
 * same, so that a backward needs no copy of those of its forward. Without dropout the parameters go through as they are.
 */
export function withDropout<R>(runtime: Runtime, view: ParameterView, dropout: RowDropout | undefined, use: (view: ParameterView) => R): R {
  if (dropout === undefined) return use(view);
  const masks = new Arena();
  try {
    return use({
      tensor: (name) => view.tensor(name),
      blocks: (name) => view.blocks(name),
      module(name) {
        const module = view.module(name);
        if (module.lora === undefined) return module;
        const width = module.lora.a.shape[1]!;
        const mask = dropoutMask(dropout, name, width);
        const kept = masks.add(runtime.flags(mask, [mask.length / width, width]));
        return { ...module, lora: { ...module.lora, scale: module.lora.scale / (1 - dropout.share), kept } };
      },
    });
  } finally {
    masks.dispose();
  }
}
