import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

it("shows code that runs", async () => {
  const code = /```ts\n([\s\S]*?)```/u.exec(readFileSync(new URL("../README.md", import.meta.url), "utf8"))![1]!.replace(":8900/", `:${await freePort()}/`);
  const output = execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", code], { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8" });
  expect(output.trim()).toBe("parked 0");
});
