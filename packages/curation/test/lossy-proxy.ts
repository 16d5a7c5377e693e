import { connect, createServer, type Socket } from "node:net";

/** A way to a server that can lose answers. */
export interface LossyProxy {
  /** The server's address by this way. */
  url: string;
  /** The next time that a client commits, the server does so, and the client's connection breaks before it hears of it. */
  loseCommit(): void;
  /** Commits whose answer was lost. */
  lost(): number;
  stop(): Promise<void>;
}

/** Starts a proxy to a Postgres server. */
export async function startLossyProxy(address: string): Promise<LossyProxy> {
  const target = new URL(address);
  const sockets = new Set<Socket>();
  let isArmed = false;
  let lost = 0;
  const proxy = createServer((client) => {
    const server = connect(Number(target.port), target.hostname);
    let isLosing = false;
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on("error", () => undefined).on("close", () => [client, server].forEach((one) => one.destroy()));
    }
    client.on("data", (data) => {
      if (isArmed && data.includes("COMMIT")) {
        isArmed = false;
        isLosing = true;
      }
      server.write(data);
    });
    server.on("data", (data) => {
      if (!isLosing) return void client.write(data);
      lost++;
      client.destroy();
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const url = new URL(address);
  url.port = String((proxy.address() as { port: number }).port);
  return {
    url: url.href,
    loseCommit: () => {
      isArmed = true;
    },
    lost: () => lost,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}
