import { basename } from "node:path";
import type { OnProgress } from "@dramascope/schema";
import { QwenVlError } from "./errors.ts";
import { parseEndpoint } from "./pull-address.ts";
import { createHubClient, type HubClient } from "./pull-client.ts";
import { fetchFile } from "./pull-fetch.ts";
import type { PullFile } from "./pull-files.ts";
import { beginPull, damagedFiles, finishPull, freeBytes, presentBytes, readPullFolder, type PulledModel } from "./pull-folder.ts";
import { checkRemoteConfig, fileUrl, readListing } from "./pull-listing.ts";

/** Options of {@link pullModel} and {@link planPull}. */
export interface PullOptions {
  /** Branch, tag or commit. Default `main`. */
  revision?: string;
  /** Folder of the checkpoint: new, empty, or left by an earlier pull. Default the repository's own name in the current folder. */
  out?: string;
  /** Address of the hub: https, or http on this machine. Default `https://huggingface.co`. */
  endpoint?: string;
  /** Token for repositories that are not public, sent to the endpoint only. Default none. */
  token?: string | undefined;
  /** Tries in a row that bring nothing before the pull gives up. Default 8. */
  attempts?: number;
  /** Wait after the first failed try, doubled up to 30 s after each further one; a server's Retry-After counts more. Default 0.5. */
  firstWaitSeconds?: number;
  /** A connection without a byte for this long is broken. Default 60. */
  idleSeconds?: number;
  /** Reads a complete folder again and compares every hash; else only files written to since the pull ended are. Default false. */
  verify?: boolean;
  /** Ends the work; what has come of a file stays and is gone on with. */
  signal?: AbortSignal | undefined;
  /** Phases `verify` and `pull`, in bytes, and `wait`. */
  onProgress?: OnProgress | undefined;
  /** Told once before anything is written. */
  onPlan?: ((plan: PullPlan) => void) | undefined;
}

const DEFAULTS = { revision: "main", endpoint: "https://huggingface.co", attempts: 8, firstWaitSeconds: 0.5, idleSeconds: 60 } as const;

/** What a pull would do. */
export interface PullPlan extends PulledModel {
  folder: string;
  /** All bytes of the checkpoint. */
  bytes: number;
  /** Bytes that an earlier pull has brought. */
  presentBytes: number;
  /** Bytes that the folder's disk has room for. */
  freeBytes: number;
}

/** A complete checkpoint folder. */
export interface PullResult extends PulledModel {
  folder: string;
  bytes: number;
  /** Bytes that came over the network for its files; 0 when everything was there. */
  fetchedBytes: number;
}

const refuse = (what: string, hint: string): never => {
  throw new QwenVlError(what, { code: "PULL_OPTIONS", hint });
};

function checkOptions(repo: string, { revision, token, attempts, firstWaitSeconds, idleSeconds }: PullOptions & Required<Pick<PullOptions, keyof typeof DEFAULTS>>): void {
  const part = String.raw`[A-Za-z0-9][A-Za-z0-9._-]{0,95}`;
  if (!new RegExp(`^(?:${part}/)?${part}$`, "u").test(repo) || repo.includes("..")) refuse(`${JSON.stringify(repo.slice(0, 100))} is not the name of a repository`, "Give OWNER/NAME, such as Qwen/Qwen2.5-VL-3B-Instruct.");
  if (!/^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$/u.test(revision) || revision.includes("..")) refuse(`${JSON.stringify(revision.slice(0, 100))} is not the name of a revision`, "Give a branch, a tag or a commit.");
  if (token !== undefined && !/^[\x21-\x7e]{1,4096}$/u.test(token)) refuse("the token holds characters that no token has", "Check the variable that it comes from.");
  if (!Number.isInteger(attempts) || attempts < 1) refuse(`attempts is ${attempts}, expected a positive integer`, "Leave it out for 8.");
  if (!(firstWaitSeconds >= 0 && firstWaitSeconds <= 300)) refuse(`firstWaitSeconds is ${firstWaitSeconds}, expected 0 to 300`, "Leave it out for 0.5.");
  if (!(idleSeconds > 0 && idleSeconds <= 3600)) refuse(`idleSeconds is ${idleSeconds}, expected above 0, to 3600`, "Leave it out for 60.");
}

/** A plan with what carrying it out needs. */
interface PreparedPull {
  plan: PullPlan;
  client: HubClient;
  held: PulledModel | undefined;
  isComplete: boolean;
}

async function preparePull(repo: string, options: PullOptions): Promise<PreparedPull> {
  const settings = { ...DEFAULTS, ...options };
  checkOptions(repo, settings);
  const { revision, endpoint, attempts, firstWaitSeconds, idleSeconds, token, signal } = settings;
  const folder = options.out ?? basename(repo);
  const onWait = (seconds: number, why: string): void => options.onProgress?.({ phase: "wait", done: 0, note: `${why}; next try in ${Math.ceil(seconds)} s` });
  const client = createHubClient({ endpoint: parseEndpoint(endpoint), token, attempts, firstWaitSeconds, idleSeconds, signal, onWait });
  const { held, isFinished } = await readPullFolder(folder, repo);
  signal?.throwIfAborted();
  const { commit, list } = await readListing(client, repo, revision);
  const isSame = isFinished && held?.commit === commit;
  const files: PullFile[] = isSame ? held.files : await list();
  const damaged = isSame
    ? await damagedFiles(folder, files, options.verify === true ? "all" : "changed", signal, (done, total, note) => options.onProgress?.({ phase: "verify", done, total, note }))
    : new Set<string>();
  const present = (await presentBytes(folder, files, held)).map((bytes, i) => (damaged.has(files[i]!.name) ? 0 : bytes));
  const isComplete = isSame && damaged.size === 0;
  if (!isSame) await checkRemoteConfig(client, repo, commit, files);
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  const plan = { repo, revision, commit, files, folder, bytes: sum(files.map(({ bytes }) => bytes)), presentBytes: sum(present), freeBytes: await freeBytes(folder) };
  return { plan, client, held, isComplete };
}

/**
 * What {@link pullModel} would fetch, and whether there is room for it. Writes nothing.
 *
 * @throws QwenVlError as {@link pullModel} does, but for files and disk.
 */
export async function planPull(repo: string, options: PullOptions = {}): Promise<PullPlan> {
  return (await preparePull(repo, options)).plan;
}

/**
 * Fetches the files of a Qwen2.5-VL checkpoint from a Hugging Face hub: configuration, tokenizer, templates and safetensors, nothing that
 * could run. Each file grows as `NAME.part` and gets its name when its hash is the announced one; `pulled.json` is written last, so a
 * folder that has it is complete. A pull that ended in any way is gone on with by the next one, byte by byte. In a complete folder of the
 * same commit, files of another length and files that were written to since are compared with their hashes and fetched again where these
 * differ; a change that left length and date alone is found with `verify`. Two pulls into one folder at the same time are not meant.
 *
 * No proxy is used. Redirects are followed to the hub's own origin and over https to hosts of the public internet, whose addresses are checked
 * and kept to; from a hub on this machine also to others here. The token goes to the hub's origin only.
 *
 * @param repo Name of a model repository, `OWNER/NAME`.
 * @throws QwenVlError `PULL_OPTIONS`, `PULL_FOLDER` (the folder holds something else), `PULL_NOT_FOUND`, `PULL_DENIED`, `PULL_LISTING` (no
 *         sound repository of a checkpoint), `PULL_NO_ROOM`, `HUB_UNAVAILABLE`, `HUB_DAMAGED` (bytes that are not the announced ones),
 *         `OUTPUT_UNWRITABLE`; those of {@link parseConfig} when the model is of another kind.
 */
export async function pullModel(repo: string, options: PullOptions = {}): Promise<PullResult> {
  const { plan, client, held, isComplete } = await preparePull(repo, options);
  const { folder, bytes, revision, commit, files, freeBytes: free } = plan;
  options.onPlan?.(plan);
  const pulled: PulledModel = { repo, revision, commit, files };
  if (isComplete) return { ...pulled, folder, bytes, fetchedBytes: 0 };
  const needed = bytes - plan.presentBytes;
  if (needed > free) throw new QwenVlError(`${folder} needs ${needed} more bytes, its disk has room for ${free}`, { code: "PULL_NO_ROOM", hint: "Make room, or give a folder on another disk." });
  await beginPull(folder, pulled, held);
  let finished = 0;
  let fetchedBytes = 0;
  for (const file of files) {
    options.signal?.throwIfAborted();
    await fetchFile(file, {
      client,
      url: fileUrl(client, repo, commit, file.name),
      folder,
      signal: options.signal,
      onBytes: (there, come) => {
        fetchedBytes += come;
        options.onProgress?.({ phase: "pull", done: finished + there, total: bytes, note: file.name });
      },
    });
    finished += file.bytes;
  }
  await finishPull(folder, pulled);
  return { ...pulled, folder, bytes, fetchedBytes };
}
