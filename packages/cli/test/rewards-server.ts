import type { ChildProcess } from "node:child_process";
import { prepareReference, scoreGroup, type RewardReference } from "@dramascope/rewards";
import { createRandom } from "@dramascope/schema";
import { start } from "./cli.ts";

/** A reward server in a process of its own. */
export interface RewardServer {
  /** `http://127.0.0.1:port` */
  address: string;
  child: ChildProcess;
  done: ReturnType<typeof start>["done"];
  /** Sends SIGTERM and waits for the end. */
  stop: () => ReturnType<typeof start>["done"];
}

/** Starts `dramascope rewards serve` on a free port and waits until it listens. */
export async function serve(...args: string[]): Promise<RewardServer> {
  const { child, done } = start(["rewards", "serve", "--port", "0", "--workers", "2", ...args]);
  const address = await new Promise<string>((resolve, reject) => {
    let text = "";
    child.stderr!.on("data", (chunk: string) => {
      text += chunk;
      const found = /http:\/\/\S+:\d+/u.exec(text);
      if (found) resolve(found[0]);
    });
    child.on("close", () => reject(new Error(text)));
  });
  return {
    address,
    child,
    done,
    stop: () => {
      child.kill("SIGTERM");
      return done;
    },
  };
}

/** One item of a reply. */
export interface ReplyItem {
  id: string;
  format: number | null;
  accuracy: number | null;
  caption: number | null;
  comments: number | null;
  total: number | null;
  reasons: string[];
  error: { code: string } | null;
}

/** A body of `POST /v1/score` and what must come back. */
export interface Exchange {
  body: string;
  items: ReplyItem[];
}

/** Groups of items with the rewards that the library computes in this process. */
export function makeExchanges(count: number, itemsEach: number, seed: number): Exchange[] {
  const random = createRandom(seed);
  const words = (length: number): string => Array.from({ length }, () => `w${random.below(40)}`).join(" ");
  return Array.from({ length: count }, (_, group) => {
    const reference: RewardReference = { score: (1 + random.below(5)) as 1, caption: words(20), comments: [words(5), words(5)] };
    const texts = Array.from({ length: itemsEach }, () => `<caption>${words(15)}</caption><comments>${JSON.stringify([words(4), words(4)])}</comments><think>t</think><answer>${1 + random.below(5)}</answer>`);
    const ids = texts.map((_text, i) => `${seed}-${group}#${i}`);
    const { score, ...rest } = reference;
    return {
      body: JSON.stringify({ references: { r: { ...rest, solution: String(score) } }, items: texts.map((completion, i) => ({ id: ids[i], completion, referenceKey: "r" })) }),
      items: scoreGroup(texts, prepareReference(reference)).map(({ version: _version, ...rewards }, i) => ({ id: ids[i]!, ...rewards, error: null })),
    };
  });
}

/** Posts a body to be scored. */
export function post(address: string, body: string | Uint8Array, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${address}/v1/score`, { method: "POST", body: body as string, headers: { "content-type": "application/json", ...headers } });
}

/** Runs work over all values, so many at a time. */
export async function inParallel<T>(values: readonly T[], lanes: number, work: (value: T) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      while (next < values.length) await work(values[next++]!);
    }),
  );
}
