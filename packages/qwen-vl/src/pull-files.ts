import { QwenVlError } from "./errors.ts";

/** One file of a repository, as its hub announces it. */
export interface PullFile {
  name: string;
  bytes: number;
  /** `sha256` over the contents for large files; `git-sha1` over git's blob (a short head, then the contents) for small ones. */
  algorithm: "sha256" | "git-sha1";
  /** Hex digits, in lower case. */
  digest: string;
}

const INDEX = "model.safetensors.index.json";
const SINGLE = "model.safetensors";
const SHARD = /^model-(\d{5})-of-(\d{5})\.safetensors$/u;
/** What a checkpoint consists of beside its weights and their index. */
export const SETTINGS: readonly string[] = [
  "config.json", "generation_config.json", "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json", "chat_template.json", "chat_template.jinja",
  "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
];
const SMALL: readonly string[] = [...SETTINGS, INDEX];
/** Far above any real small file; only weights are larger. */
const MAX_SMALL_BYTES = 256 * 1024 * 1024;
const MAX_BYTES = 2 ** 43;

const isWeights = (name: string): boolean => name === SINGLE || SHARD.test(name);

/** Whether a name is one of a checkpoint's files. */
export function isCheckpointFile(name: string): boolean {
  return SMALL.includes(name) || isWeights(name);
}

function refuse(what: string, hint = "The hub's listing is not one of a sound repository; check endpoint and name."): never {
  throw new QwenVlError(what, { code: "PULL_LISTING", hint });
}

/** Names that no repository has: they lead out of the folder or hide what they are. */
function checkName(path: unknown): string {
  const name = typeof path === "string" ? path : refuse("the listing holds an entry without a name");
  const parts = name.split("/");
  if (name.length > 1000 || /[\\\p{Cc}]|^[A-Za-z]:/u.test(name) || parts.some((part) => part === "" || part === "." || part === "..")) {
    refuse(`the listing names ${JSON.stringify(name.slice(0, 100))}, which is no path inside a repository`);
  }
  return name;
}

function readFile(name: string, entry: Readonly<Record<string, unknown>>): PullFile {
  const { oid, size, lfs } = entry as { oid?: unknown; size?: unknown; lfs?: { oid?: unknown; size?: unknown } | null };
  const isLarge = typeof lfs === "object" && lfs !== null;
  const bytes = isLarge ? lfs.size : size;
  const digest = isLarge ? lfs.oid : oid;
  if (typeof bytes !== "number" || !Number.isSafeInteger(bytes) || bytes < 0 || bytes > (isWeights(name) ? MAX_BYTES : MAX_SMALL_BYTES)) refuse(`the listing gives ${name} an impossible size`);
  if (typeof digest !== "string" || !(isLarge ? /^[0-9a-f]{64}$/u : /^[0-9a-f]{40}$/u).test(digest)) refuse(`the listing gives ${name} no usable hash`);
  return { name, bytes, algorithm: isLarge ? "sha256" : "git-sha1", digest };
}

/** Checks that numbered shards are all there and of one numbering. */
function checkShards(names: readonly string[]): void {
  const numbers = names.map((name) => SHARD.exec(name)!);
  const count = Number(numbers[0]?.[2] ?? 0);
  const found = new Set(numbers.filter((match) => Number(match[2]) === count).map((match) => Number(match[1])));
  const isWhole = count > 0 && names.length === count && Array.from({ length: count }, (_, i) => i + 1).every((i) => found.has(i));
  if (!isWhole) refuse(`the repository holds ${INDEX} and ${names.length} shards that do not make a whole`, "Ask the repository's owner, or name another revision.");
}

/**
 * The files of a listing that a Qwen2.5-VL checkpoint needs, smallest kinds first: settings, tokenizer, then weights. Other files, among
 * them every one that could run, are left out.
 *
 * @param entries Entries of the repository's root, unchecked.
 * @throws QwenVlError `PULL_LISTING` for names that lead elsewhere, sizes or hashes that cannot be, doubled names, a repository without
 *         a whole set of configuration, tokenizer and safetensors.
 */
export function checkpointFiles(entries: readonly unknown[]): PullFile[] {
  const files = new Map<string, PullFile>();
  for (const entry of entries) {
    if (typeof entry !== "object" || entry === null) refuse("the listing holds something that is no entry");
    const record = entry as Readonly<Record<string, unknown>>;
    const name = checkName(record["path"]);
    if (record["type"] !== "file" || !isCheckpointFile(name)) continue;
    if (files.has(name)) refuse(`the listing names ${name} twice`);
    files.set(name, readFile(name, record));
  }
  const weights = [...files.keys()].filter(isWeights).sort();
  const chosen = files.has(INDEX) ? weights.filter((name) => name !== SINGLE) : weights.filter((name) => name === SINGLE);
  if (files.has(INDEX)) checkShards(chosen);
  const missing = [...["config.json", "tokenizer.json"].filter((name) => !files.has(name)), ...(chosen.length === 0 ? [SINGLE] : [])];
  if (missing.length > 0) refuse(`the repository holds no ${missing.join(", no ")}`, "Name the repository of a Qwen2.5-VL checkpoint in safetensors form.");
  return [...SMALL.filter((name) => files.has(name)), ...chosen].map((name) => files.get(name)!);
}
