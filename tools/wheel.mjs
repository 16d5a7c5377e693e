/** Reads single files out of a Python wheel, which is a zip archive, streaming. Node built-ins only. */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createInflateRaw } from "node:zlib";

/** Members of a zip archive by name, from its central directory (ZIP64 included). */
async function readDirectory(file, size) {
  const tail = Buffer.alloc(Math.min(size, 66_000));
  await file.read(tail, 0, tail.length, size - tail.length);
  const end = tail.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  if (end < 0) throw new Error("the wheel is not a zip archive");
  let count = tail.readUInt16LE(end + 10);
  let length = tail.readUInt32LE(end + 12);
  let start = tail.readUInt32LE(end + 16);
  const locator = tail.lastIndexOf(Buffer.from("PK\x06\x07", "latin1"));
  if (start === 0xffffffff && locator >= 0) {
    const record = Buffer.alloc(56);
    await file.read(record, 0, 56, Number(tail.readBigUInt64LE(locator + 8)));
    count = Number(record.readBigUInt64LE(32));
    length = Number(record.readBigUInt64LE(40));
    start = Number(record.readBigUInt64LE(48));
  }
  const directory = Buffer.alloc(length);
  await file.read(directory, 0, length, start);
  const members = new Map();
  for (let at = 0, i = 0; i < count; i++) {
    const nameLength = directory.readUInt16LE(at + 28);
    members.set(directory.toString("utf8", at + 46, at + 46 + nameLength), {
      method: directory.readUInt16LE(at + 10),
      packed: directory.readUInt32LE(at + 20),
      size: directory.readUInt32LE(at + 24),
      offset: directory.readUInt32LE(at + 42),
    });
    at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return members;
}

/** Unpacks one member, streaming, and checks its size. */
async function extract(wheel, file, member, target) {
  const header = Buffer.alloc(30);
  await file.read(header, 0, 30, member.offset);
  const start = member.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  const source = createReadStream(wheel, { start, end: start + member.packed - 1, highWaterMark: 1 << 20 });
  let written = 0;
  const counter = new Transform({
    transform(chunk, _encoding, done) {
      written += chunk.length;
      done(null, chunk);
    },
  });
  const unpack = member.method === 8 ? [createInflateRaw({ chunkSize: 1 << 20 })] : [];
  await pipeline(source, ...unpack, counter, createWriteStream(target));
  if (written !== member.size) throw new Error(`${basename(target)} has ${written} bytes, the wheel promises ${member.size}`);
}

/**
 * Unpacks members of a wheel below a folder, each to its own name without a prefix.
 *
 * @param {string} wheel Path.
 * @param {{ folder: string, required: readonly string[], optional?: readonly string[], prefix?: string, log?: (text: string) => void }} options
 */
export async function unpackWheel(wheel, { folder, required, optional = [], prefix = "", log = () => undefined }) {
  const file = await open(wheel, "r");
  try {
    const members = await readDirectory(file, (await file.stat()).size);
    for (const name of [...required, ...optional]) {
      const member = members.get(name);
      if (!member && required.includes(name)) throw new Error(`the wheel lacks ${name}`);
      if (!member) continue;
      log(`unpacking ${basename(name)} (${Math.ceil(member.size / 1e6)} MB) …`);
      const target = join(folder, name.slice(prefix.length));
      await mkdir(dirname(target), { recursive: true });
      await extract(wheel, file, member, target);
    }
  } finally {
    await file.close();
  }
}
