import { isPublicAddress } from "@dramascope/schema";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const OPEN = ["1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "198.17.255.255", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001::1", "64:ff9b::8.8.8.8", "64:ff9b::808:808"];
const CLOSED = [
  "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1",
  "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
  "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:7f00:1", "::127.0.0.1", "::8.8.8.8", "0:0:0:0:0:ffff:10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::1", "100::1",
  "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "4000::1",
  "", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "0x7f.1", "8.8.8.8 ", "2606:4700:4700::1111%eth0", "2606:4700:4700::1111\0", "8.8.8.8\0", "[::1]",
];

describe("isPublicAddress", () => {
  it.each(OPEN)("is true for %j", (address) => expect(isPublicAddress(address)).toBe(true));
  it.each(CLOSED)("is false for %j", (address) => expect(isPublicAddress(address)).toBe(false));

  it("is false for any IPv4 address in mapped form, and the same for NAT64 as for IPv4 itself", () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        expect(isPublicAddress(`::ffff:${address}`)).toBe(false);
        expect(isPublicAddress(`64:ff9b::${address}`)).toBe(isPublicAddress(address));
      }),
    );
  });
});
