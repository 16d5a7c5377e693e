import { mkdtemp, readFile, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EventFile } from "../src/event-file.ts";
import { maskedCrc32c } from "../src/event-records.ts";

const newPath = async (): Promise<string> => join(await mkdtemp(join(tmpdir(), "dramascope-events-")), "tensorboard", "events.out.tfevents.0.dramascope");

/** As TensorBoard 2.21's own `EventAccumulator` read it back: version, then step 1 with loss 0.5 and kl 0.25, then step 300 with loss -1. */
const GOLDEN = [
  "1800000000000000a37f4b22090000000000408f401a0d627261696e2e4576656e743a3273ae6b56",
  "2500000000000000eabc36f3090000000000408f4010012a180a0b0a046c6f7373150000003f0a090a026b6c150000803e0bfabc29",
  "1b000000000000001a0d9e13090000000000408f4010ac022a0d0a0b0a046c6f737315000080bf7465d280",
].join("");

describe("the event file", () => {
  it("has RFC 3720's checksums, masked", () => {
    // iSCSI's examples: 32 zeros give 8a9136aa, 32 ones 62a8ab43, 0 … 31 give 46dd794e.
    const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
    expect(maskedCrc32c(new Uint8Array(32))).toBe(masked(0x8a9136aa));
    expect(maskedCrc32c(new Uint8Array(32).fill(255))).toBe(masked(0x62a8ab43));
    expect(maskedCrc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(masked(0x46dd794e));
  });

  it("is the bytes that TensorBoard reads", async () => {
    const path = await newPath();
    const file = await EventFile.open(path, 0, () => 1000);
    await file.add(1, { loss: 0.5, kl: 0.25, nothing: null });
    await file.add(300, { loss: -1 });
    expect((await readFile(path)).toString("hex")).toBe(GOLDEN);
  });

  it("goes on after a step as if later steps had never been, also after a torn write", async () => {
    const [whole, broken] = [await newPath(), await newPath()];
    for (const path of [whole, broken]) {
      const file = await EventFile.open(path, 0, () => 1000);
      for (const step of [1, 2, 200, 201]) await file.add(step, { loss: step });
    }
    await truncate(broken, (await readFile(broken)).length - 3);
    const again = await EventFile.open(broken, 2, () => 1000);
    for (const step of [200, 201]) await again.add(step, { loss: step });
    expect((await readFile(broken)).equals(await readFile(whole))).toBe(true);
  });

  it("begins anew where something else stands", async () => {
    const path = await newPath();
    await EventFile.open(path, 0, () => 1000);
    const fresh = await readFile(path);
    await truncate(path, 5);
    await EventFile.open(path, 7, () => 1000);
    expect((await readFile(path)).equals(fresh)).toBe(true);
  });
});
