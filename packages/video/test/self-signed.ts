import { generateKeyPairSync, sign } from "node:crypto";

type Der = Buffer;
const der = (tag: number, ...parts: Uint8Array[]): Der => {
  const body = Buffer.concat(parts);
  const length = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
};
const sequence = (...parts: Uint8Array[]): Der => der(0x30, ...parts);
const oid = (hex: string): Der => der(6, Buffer.from(hex, "hex"));
const time = (date: Date): Der => der(0x17, Buffer.from(`${date.toISOString().replace(/[-:T]/gu, "").slice(2, 14)}Z`));
const bits = (data: Uint8Array): Der => der(3, Buffer.from([0]), data);

/** A key and a certificate of its own for test servers on this machine, PEM; good for a day from now. */
export function selfSigned(names: readonly string[], addresses: readonly [number, number, number, number][]): { key: string; cert: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const ecdsaWithSha256 = sequence(oid("2a8648ce3d040302"));
  const name = sequence(der(0x31, sequence(oid("550403"), der(12, Buffer.from("dramascope test")))));
  const subjectNames = sequence(...names.map((text) => der(0x82, Buffer.from(text))), ...addresses.map((address) => der(0x87, Buffer.from(address))));
  const extensions = sequence(
    sequence(oid("551d11"), der(4, subjectNames)),
    sequence(oid("551d13"), der(1, Buffer.from([255])), der(4, sequence(der(1, Buffer.from([255]))))), // its own authority
  );
  const now = Date.now();
  const body = sequence(
    der(0xa0, der(2, Buffer.from([2]))),
    der(2, Buffer.from([1])),
    ecdsaWithSha256,
    name,
    sequence(time(new Date(now - 86_400_000)), time(new Date(now + 86_400_000))),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, extensions),
  );
  const certificate = sequence(body, ecdsaWithSha256, bits(sign("sha256", body, privateKey)));
  const lines = certificate.toString("base64").replace(/.{64}/gu, "$&\n");
  return { key: privateKey.export({ type: "pkcs8", format: "pem" }) as string, cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n` };
}
