import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A socket pair for a child's output. */
export interface FramePipe {
  /** For the child's stdout; to be destroyed once the child has it. */
  childEnd: Socket;
  /** What the child wrote; a chunk is valid until the next one is asked for. While none is asked for, the child waits. */
  chunks: AsyncIterator<Buffer, undefined>;
  close: () => void;
}

const BUFFER_BYTES = 1 << 18;

/** Chunks that are all read into the same buffer. */
function readInto(path: string): { socket: Socket; chunks: FramePipe["chunks"] } {
  const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  let chunk: Buffer | undefined;
  let hasEnded = false;
  let wake: (() => void) | undefined;
  const socket = connect({
    path,
    onread: {
      buffer,
      callback: (bytes) => {
        chunk = buffer.subarray(0, bytes);
        wake?.();
        return false; // no more until it is taken
      },
    },
  });
  const end = (): void => {
    hasEnded = true;
    wake?.();
  };
  socket.on("end", end).on("close", end).on("error", end);
  let isFirst = true;
  const next = async (): Promise<IteratorResult<Buffer, undefined>> => {
    if (chunk === undefined && !hasEnded) {
      const arrival = new Promise<void>((resolve) => (wake = resolve));
      if (!isFirst) socket.resume();
      isFirst = false;
      await arrival;
    }
    const value = chunk;
    chunk = undefined;
    return value === undefined ? { done: true, value } : { done: false, value };
  };
  return { socket, chunks: { next } };
}

/**
 * A pipe that is read into one buffer again and again. Node's own pipes take a new buffer for every 64 kB, and collecting those costs
 * more than reading them. The pair meets in a folder that only this user can enter and that is gone before the child starts.
 *
 * @returns Undefined where the system cannot do it, for example because the temporary folder has too long a name for a socket.
 */
export async function openFramePipe(): Promise<FramePipe | undefined> {
  if (process.platform === "win32") return undefined;
  let folder: string | undefined;
  const server: Server = createServer();
  try {
    folder = await mkdtemp(join(tmpdir(), "dramascope-pipe-"));
    const path = join(folder, "s");
    server.listen(path);
    await once(server, "listening");
    const { socket, chunks } = readInto(path);
    const [[childEnd]] = (await Promise.all([once(server, "connection"), once(socket, "connect")])) as [[Socket], unknown];
    return { childEnd, chunks, close: () => socket.destroy() };
  } catch {
    return undefined;
  } finally {
    server.close();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}
