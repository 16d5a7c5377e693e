import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { checkHop, parseEndpoint } from "../src/pull-address.ts";
import { ask } from "../src/pull-request.ts";
import { hub, hubForEach, pull, withCode } from "./pull-hub.ts";

const HUB = parseEndpoint("https://hub.example");
const HERE = parseEndpoint("http://127.0.0.1:8080");
/** A resolver that gives each host what its name says. */
const resolve = (hostname: string): Promise<string[]> => Promise.resolve(hostname.split(".")[0]!.split("_").map((address) => address.replaceAll("-", ".")));

describe("where a hub may lead", () => {
  it.each([
    ["https://1-1-1-1.example/x?signature=1", HUB, ["1.1.1.1"]],
    ["https://8.8.8.8/x", HUB, ["8.8.8.8"]],
    ["https://[2606:4700:4700::1111]/x", HUB, ["2606:4700:4700::1111"]],
    ["https://1-1-1-1_8-8-8-8.example/x", HERE, ["1.1.1.1", "8.8.8.8"]],
    ["http://127-0-0-1.example:99/x", HERE, ["127.0.0.1"]],
    ["https://127.0.0.2/x", HERE, ["127.0.0.2"]],
    ["https://hub.example/cache/x", HUB, undefined],
    ["http://127.0.0.1:8080/cache/x", HERE, undefined],
  ])("%s", async (url, endpoint, addresses) => {
    expect(await checkHop(new URL(url), endpoint, resolve)).toEqual({ url: new URL(url), addresses });
  });

  it.each([
    ["http://1-1-1-1.example/x", HUB],
    ["http://1-1-1-1.example/x", HERE],
    ["http://hub.example/x", HUB],
    ["ftp://1-1-1-1.example/x", HUB],
    ["file:///etc/passwd", HUB],
    ["https://127-0-0-1.example/x", HUB],
    ["https://1-1-1-1_10-0-0-1.example/x", HUB],
    ["https://10-0-0-1.example/x", HERE],
    ["https://127-0-0-1_10-0-0-1.example/x", HERE],
    ["https://localhost/x", HUB],
    ["https://127.0.0.1/x", HUB],
    ["https://[::1]/x", HUB],
    ["https://0.0.0.0/x", HUB],
    ["https://2130706433/x", HUB],
    ["https://10.255.255.1/x", HUB],
    ["https://100.64.0.1/x", HUB],
    ["https://169.254.169.254/x", HUB],
    ["https://169.254.169.254/x", HERE],
    ["https://[::ffff:127.0.0.1]/x", HUB],
    ["https://[::ffff:127.0.0.1]/x", HERE],
    ["https://[fe80::1]/x", HUB],
    ["https://[fd00::1]/x", HUB],
    ["https://user:secret@1-1-1-1.example/x", HUB],
    ["https://user:secret@hub.example/x", HUB],
  ])("is not %s", async (text, endpoint) => {
    const url = new URL(text);
    url.search = "sig=secret";
    const local = (hostname: string): Promise<string[]> => (hostname === "localhost" ? Promise.resolve(["::1", "127.0.0.1"]) : resolve(hostname));
    const error = await checkHop(url, endpoint, local).then(() => expect.unreachable(), (thrown: unknown) => thrown as Error);
    expect(error).toEqual(withCode("HUB_DAMAGED"));
    expect(JSON.stringify([error.message, error.stack, error])).not.toMatch(/secret|user/u);
  });

  it("is asked at the addresses that were checked, whatever its name means by then", async () => {
    const hosts: (string | undefined)[] = [];
    const server = createServer(({ headers }, response) => {
      hosts.push(headers.host);
      response.end("here");
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const { port } = server.address() as AddressInfo;
    const answer = await ask({ url: new URL(`http://no-such-host.invalid:${port}/x`), addresses: ["127.0.0.1"] }, {}, new AbortController().signal);
    answer.resume();
    expect([answer.statusCode, hosts]).toEqual([200, [`no-such-host.invalid:${port}`]]);
    await new Promise((closed) => server.close(closed));
  });
});

describe("a pull", () => {
  hubForEach();

  it.each(["https://10.255.255.1/x", "https://169.254.169.254/x", "https://0.0.0.0:1/x", "https://[::ffff:127.0.0.1]:1/x", "https://user:secret@1.1.1.1/x?sig=secret", "https://user:secret@", "nonsense:secret"])(
    "does not follow a redirect to %s",
    async (location) => {
      hub.disturb = (_, name) => (name === "config.json" ? { status: 302, headers: { location } } : undefined);
      const error = await pull({ attempts: 1 }).then(() => expect.unreachable(), (thrown: unknown) => thrown as Error);
      expect(error).toEqual(withCode("HUB_DAMAGED"));
      expect(JSON.stringify([error.message, error.stack, error])).not.toContain("secret");
    },
  );

  it("does not take packed bytes for a file", async () => {
    hub.disturb = (_, name) => (name === "tokenizer.json" ? { status: 200, headers: { "content-encoding": "gzip" }, body: "not gzip" } : undefined);
    await expect(pull()).rejects.toThrow(withCode("HUB_DAMAGED"));
  });
});
