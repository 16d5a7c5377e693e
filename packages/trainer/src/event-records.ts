/** What one record of a TensorBoard event file says. */
export interface LogEvent {
  /** Seconds since 1970. */
  wallTime: number;
  step: number;
  /** Values by tag; values that are no number are left out. */
  scalars: ReadonlyMap<string, number>;
}

/** First record of every event file. */
const FILE_VERSION = "brain.Event:2";
const HEADER_BYTES = 12;
const FOOTER_BYTES = 4;

const CASTAGNOLI = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** CRC-32C, rotated and offset as TFRecord wants it: a checksum of data that holds checksums. */
export function maskedCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CASTAGNOLI[(crc ^ byte) & 255]! ^ (crc >>> 8);
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** One TFRecord: length, its checksum, the data, their checksum. */
function frame(data: Uint8Array): Buffer {
  const out = Buffer.alloc(HEADER_BYTES + data.length + FOOTER_BYTES);
  out.writeBigUInt64LE(BigInt(data.length), 0);
  out.writeUInt32LE(maskedCrc32c(out.subarray(0, 8)), 8);
  out.set(data, HEADER_BYTES);
  out.writeUInt32LE(maskedCrc32c(data), HEADER_BYTES + data.length);
  return out;
}

const VARINT = 0;
const DOUBLE = 1;
const BYTES = 2;
const FLOAT = 5;

function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = value;
  while (rest >= 128) {
    out.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...out, rest]);
}

const key = (field: number, type: number): Buffer => varint(field * 8 + type);
const message = (field: number, data: Uint8Array): Buffer => Buffer.concat([key(field, BYTES), varint(data.length), data]);

function double(field: number, value: number): Buffer {
  const data = Buffer.alloc(8);
  data.writeDoubleLE(value);
  return Buffer.concat([key(field, DOUBLE), data]);
}

function float(field: number, value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeFloatLE(value);
  return Buffer.concat([key(field, FLOAT), data]);
}

/** First record of a file (`Event.file_version`). */
export function versionRecord(wallTime: number): Buffer {
  return frame(Buffer.concat([double(1, wallTime), message(3, Buffer.from(FILE_VERSION))]));
}

/** Record of a step's scalars (`Event.summary` with `simple_value`s). */
export function scalarsRecord({ wallTime, step, scalars }: LogEvent): Buffer {
  const values = [...scalars].filter(([, value]) => Number.isFinite(value)).map(([tag, value]) => message(1, Buffer.concat([message(1, Buffer.from(tag)), float(2, value)])));
  return frame(Buffer.concat([double(1, wallTime), key(2, VARINT), varint(step), message(5, Buffer.concat(values))]));
}

/** Step of a record of {@link scalarsRecord}; 0 for the version record. The step is the second field, after nine bytes of time. */
function stepOf(data: Buffer): number {
  if (data[9] !== 16) return 0;
  let [value, factor] = [0, 1];
  for (let i = 10; i < data.length; i++, factor *= 128) {
    value += (data[i]! & 127) * factor;
    if (data[i]! < 128) break;
  }
  return value;
}

/** Length of the leading part of a file that this module wrote, of whole records up to `step`; 0 when its first record is none. */
export function lengthUpTo(file: Buffer, step: number): number {
  let end = 0;
  while (end + HEADER_BYTES <= file.length) {
    const length = Number(file.readBigUInt64LE(end));
    const next = end + HEADER_BYTES + length + FOOTER_BYTES;
    if (file.readUInt32LE(end + 8) !== maskedCrc32c(file.subarray(end, end + 8)) || next > file.length) break;
    const data = file.subarray(end + HEADER_BYTES, end + HEADER_BYTES + length);
    if (file.readUInt32LE(next - FOOTER_BYTES) !== maskedCrc32c(data) || stepOf(data) > step) break;
    end = next;
  }
  return end;
}
