/** Hash (4 bytes), bytes of the id (2), variant (1), flags (1), id, values (8 each). */
const HEADER_BYTES = 8;
const VARIANT = 6;
const FLAGS = 7;
/** The id has characters beyond Latin-1 and takes two bytes each. */
const IS_WIDE = 1;
/** The record counts for nothing. */
const IS_DROPPED = 2;
/** The user has been found in two variants. */
const IS_CROSSED = 4;
/** The user has been found twice in one variant. */
const IS_REPEATED = 8;

/** Users that could not be counted as planned. */
export interface UserFaults {
  /** Users seen in more than one variant; removed from all. */
  crossovers: number;
  /** Users of one variant with more than one row. */
  repeated: number;
}

/** A buffer that records are written to. */
export interface RecordBuffer {
  bytes: Uint8Array<ArrayBuffer>;
  /** Over the same bytes. */
  view: DataView;
  /** Bytes written. */
  used: number;
}

/** An empty buffer. */
export function recordBuffer(): RecordBuffer {
  const bytes = new Uint8Array(0);
  return { bytes, view: new DataView(bytes.buffer), used: 0 };
}

/** Changes a buffer's size and gives the old memory back at once, which the garbage collector would do late. */
export function resizeBuffer(target: RecordBuffer, size: number): void {
  target.bytes = new Uint8Array(target.bytes.buffer.transfer(size));
  target.view = new DataView(target.bytes.buffer);
}

/** A user's id as bytes, with their hash. */
export interface EncodedId {
  /** The first `length` bytes are the id: Latin-1, or two bytes a UTF-16 unit when `isWide`. */
  bytes: Uint8Array;
  length: number;
  isWide: boolean;
  /** Unsigned, 32 bits. */
  hash: number;
}

/** Encodes into a target that is used again for the next id (FNV-1a over UTF-16 units, mixed). */
export function encodeId(userId: string, into: EncodedId): void {
  const { bytes } = into;
  const units = userId.length;
  let hash = 0x811c9dc5;
  let bits = 0;
  for (let i = 0; i < units; i++) {
    const unit = userId.charCodeAt(i);
    bits |= unit;
    bytes[i] = unit;
    hash = Math.imul(hash ^ unit, 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  into.hash = (hash ^ (hash >>> 13)) >>> 0;
  into.isWide = bits > 0xff;
  into.length = into.isWide ? 2 * units : units;
  if (!into.isWide) return;
  for (let i = 0; i < units; i++) {
    const unit = userId.charCodeAt(i);
    bytes[2 * i] = unit >>> 8;
    bytes[2 * i + 1] = unit;
  }
}

/** Bytes of a record. */
export function recordSize(idBytes: number, columns: number): number {
  return HEADER_BYTES + idBytes + columns * 8;
}

/** Appends a record; the buffer has room for it. */
export function writeRecord(target: RecordBuffer, id: EncodedId, variant: number, values: Float64Array): void {
  const { bytes, view } = target;
  const { length, bytes: idBytes } = id;
  let at = target.used;
  view.setUint32(at, id.hash);
  view.setUint16(at + 4, length);
  bytes[at + VARIANT] = variant;
  bytes[at + FLAGS] = id.isWide ? IS_WIDE : 0;
  at += HEADER_BYTES;
  for (let i = 0; i < length; i++) bytes[at + i] = idBytes[i]!;
  at += length;
  for (let c = 0; c < values.length; c++, at += 8) view.setFloat64(at, values[c]!, true);
  target.used = at;
}

/** Finds repeated users in a run of records and takes them apart, reusing its memory from run to run. */
export function createRecordReader(variants: number, columns: number): {
  /** Columns per variant of users that count, each once; valid until the next run. Adds what it finds to `faults`. */
  read: (bytes: Buffer, length: number, faults: UserFaults) => Float64Array[][];
} {
  const valueBytes = columns * 8;
  const scratch = Array.from({ length: variants }, () => Array.from({ length: columns }, () => new Float64Array(0)));
  let slots = new Int32Array(0);

  const idBytes = (bytes: Buffer, at: number): number => (bytes[at + 4]! << 8) | bytes[at + 5]!;
  const sizeAt = (bytes: Buffer, at: number): number => HEADER_BYTES + idBytes(bytes, at) + valueBytes;

  const isSameUser = (bytes: Buffer, a: number, b: number): boolean => {
    if (((bytes[a + FLAGS]! ^ bytes[b + FLAGS]!) & IS_WIDE) !== 0) return false;
    for (let i = 0; i < VARIANT; i++) if (bytes[a + i] !== bytes[b + i]) return false;
    const end = HEADER_BYTES + idBytes(bytes, a);
    for (let i = HEADER_BYTES; i < end; i++) if (bytes[a + i] !== bytes[b + i]) return false;
    return true;
  };

  /** The same faults and the same users left whatever the order of rows. */
  const note = (bytes: Buffer, first: number, again: number, faults: UserFaults): void => {
    bytes[again + FLAGS]! |= IS_DROPPED;
    const flags = bytes[first + FLAGS]!;
    if ((flags & IS_CROSSED) !== 0) return;
    if (bytes[first + VARIANT] !== bytes[again + VARIANT]) {
      faults.crossovers++;
      if ((flags & IS_REPEATED) !== 0) faults.repeated--;
      bytes[first + FLAGS] = flags | IS_CROSSED | IS_DROPPED;
    } else if ((flags & IS_REPEATED) === 0) {
      faults.repeated++;
      bytes[first + FLAGS] = flags | IS_REPEATED;
    }
  };

  const dropRepeated = (bytes: Buffer, length: number, records: number, faults: UserFaults): void => {
    const capacity = 2 ** Math.ceil(Math.log2(records * 1.5 + 1));
    if (slots.length < capacity) slots = new Int32Array(capacity);
    else slots.fill(0, 0, capacity);
    const mask = capacity - 1;
    for (let at = 0; at < length; at += sizeAt(bytes, at)) {
      let slot = bytes.readUInt32BE(at) & mask;
      while (slots[slot] !== 0 && !isSameUser(bytes, slots[slot]! - 1, at)) slot = (slot + 1) & mask;
      if (slots[slot] === 0) slots[slot] = at + 1;
      else note(bytes, slots[slot]! - 1, at, faults);
    }
  };

  const read = (bytes: Buffer, length: number, faults: UserFaults): Float64Array[][] => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    let records = 0;
    for (let at = 0; at < length; at += sizeAt(bytes, at)) records++;
    dropRepeated(bytes, length, records, faults);
    const counts = new Int32Array(variants);
    const isCounted = (at: number): boolean => (bytes[at + FLAGS]! & IS_DROPPED) === 0;
    for (let at = 0; at < length; at += sizeAt(bytes, at)) if (isCounted(at)) counts[bytes[at + VARIANT]!]!++;
    scratch.forEach((own, variant) => own.forEach((values, c) => values.length < counts[variant]! && (own[c] = new Float64Array(Math.ceil(counts[variant]! * 1.25)))));
    const rows = new Int32Array(variants);
    for (let at = 0; at < length; ) {
      const next = at + sizeAt(bytes, at);
      if (isCounted(at)) {
        const variant = bytes[at + VARIANT]!;
        const row = rows[variant]!++;
        const own = scratch[variant]!;
        for (let c = 0, from = next - valueBytes; c < columns; c++, from += 8) own[c]![row] = view.getFloat64(from, true);
      }
      at = next;
    }
    return scratch.map((own, variant) => own.map((values) => values.subarray(0, counts[variant])));
  };
  return { read };
}
