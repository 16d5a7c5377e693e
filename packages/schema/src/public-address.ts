import { BlockList, isIPv4, isIPv6 } from "node:net";

/** IPv4 networks that are not, or not only, the public internet (IANA special-purpose registry). */
const CLOSED_V4 = [
  "0.0.0.0/8", // this network
  "10.0.0.0/8", // private
  "100.64.0.0/10", // carrier-grade NAT
  "127.0.0.0/8", // loopback
  "168.63.129.16/32", // host agent of a cloud's virtual machines
  "169.254.0.0/16", // link-local, instance metadata
  "172.16.0.0/12", // private
  "192.0.0.0/24", // protocol assignments
  "192.0.2.0/24", // documentation
  "192.88.99.0/24", // 6to4 relays
  "192.168.0.0/16", // private
  "198.18.0.0/15", // benchmarks
  "198.51.100.0/24", // documentation
  "203.0.113.0/24", // documentation
  "224.0.0.0/4", // multicast
  "240.0.0.0/4", // reserved, broadcast
];
/** Closed networks among the open ones of IPv6. */
const CLOSED_V6 = [
  "2001::/23", // protocol assignments: Teredo, benchmarks, ORCHID
  "2001:db8::/32", // documentation
  "2002::/16", // 6to4, which carries any IPv4 address
  "3fff::/20", // documentation
  ...CLOSED_V4.map((network) => `64:ff9b::${network.replace(/\d+$/u, (bits) => String(96 + Number(bits)))}`),
];
/** Global unicast, and NAT64, through which networks without IPv4 reach it. All else in IPv6 is closed: loopback, mapped IPv4, unique-local, link-local, multicast. */
const OPEN_V6 = ["2000::/3", "64:ff9b::/96"];

function networks(list: readonly string[], family: "ipv4" | "ipv6"): BlockList {
  const blocks = new BlockList();
  for (const network of list) {
    const [address, bits] = network.split("/") as [string, string];
    blocks.addSubnet(address, Number(bits), family);
  }
  return blocks;
}

const closedV4 = networks(CLOSED_V4, "ipv4");
const closedV6 = networks(CLOSED_V6, "ipv6");
const openV6 = networks(OPEN_V6, "ipv6");

/**
 * True for an address of the public internet. False for loopback, private, link-local, shared, reserved, multicast and documentation
 * networks, for IPv6 addresses that carry such an IPv4 address, for IPv4 addresses in IPv6 form, and for what is no address.
 *
 * @param address IPv4 or IPv6, as a resolver gives it.
 */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !closedV4.check(address, "ipv4");
  if (!isIPv6(address) || address.includes("%")) return false; // a zone names a network of this machine
  return openV6.check(address, "ipv6") && !closedV6.check(address, "ipv6");
}
