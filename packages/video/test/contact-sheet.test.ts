import { contactSheet, VideoError, type Frame } from "@dramascope/video";
import fc from "fast-check";
import sharp from "sharp";
import { describe, expect, it } from "vitest";

type Pixel = [number, number, number];

/** Frames of one colour each, the last one repeated when asked. */
function* plain(count: number, { width = 320, height = 560, repeatsLast = false, first = 0 } = {}): Generator<Frame> {
  const data = new Uint8Array(width * height * 3); // one buffer for all, as a decoder has it
  for (let i = 0; i < count; i++) {
    const repeat = repeatsLast && i === count - 1;
    const shade = repeat ? i - 1 : i;
    data.fill(40 + shade);
    yield { index: i, second: shade, label: first + shade, repeat, width, height, data };
  }
  data.fill(0);
}

interface Sheet {
  width: number;
  height: number;
  at: (x: number, y: number) => Pixel;
}

async function read(png: Uint8Array): Promise<Sheet> {
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  expect(info.channels).toBe(3);
  return { width: info.width, height: info.height, at: (x, y) => [...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3)] as Pixel };
}

const isInk = ([r, g, b]: Pixel): boolean => r > 200 && g > 200 && b > 200;
const isRed = ([r, g, b]: Pixel): boolean => r === 255 && g === 0 && b === 0;

/** Rows of "#" and "." of the label under a cell, one character a dot. */
function labelUnder(sheet: Sheet, cell: { left: number; top: number; width: number; height: number }): string[] {
  const dot = 2;
  const rows = Array.from({ length: 9 }, (_, row) => Array.from({ length: cell.width / dot }, (_, column) => (isInk(sheet.at(cell.left + column * dot, cell.top + cell.height + 3 + row * dot)) ? "#" : ".")).join(""));
  const inked = rows.flatMap((row) => [row.indexOf("#"), row.lastIndexOf("#")]).filter((x) => x >= 0);
  return rows.map((row) => row.slice(Math.min(...inked), Math.max(...inked) + 1));
}

/** Place of a thumbnail of 160 x 280 pixels. */
const cell = (i: number): { left: number; top: number; width: number; height: number } => ({ left: 8 + (i % 10) * 168, top: 8 + Math.floor(i / 10) * 312, width: 160, height: 280 });

describe("contactSheet", () => {
  it("shows thumbnails 160 pixels wide in rows of 10, in order", async () => {
    const sheet = await read(await contactSheet(plain(12)));
    expect([sheet.width, sheet.height]).toEqual([8 + 10 * 168, 8 + 2 * 312]);
    for (let i = 0; i < 12; i++) for (const [x, y] of [[0, 0], [80, 140], [159, 279]] as const) expect(sheet.at(cell(i).left + x, cell(i).top + y)).toEqual([40 + i, 40 + i, 40 + i]);
    expect(sheet.at(cell(2).left + 80, cell(12).top + 140)).toEqual([27, 29, 35]);
  });

  it("writes each frame's label under it", async () => {
    const sheet = await read(await contactSheet(plain(3, { first: 9 })));
    expect(labelUnder(sheet, cell(0))).toEqual([".####.", "######", "##..##", "##..##", "######", ".#####", "....##", ".#####", ".####."]);
    expect(labelUnder(sheet, cell(2))).toEqual(["..##....##..", ".###...###..", "####..####..", "..##....##..", "..##....##..", "..##....##..", "..##....##..", "############", "############"].map((row) => `${row.slice(0, 6)}.${row.slice(6)}`));
  });

  it("puts a red edge round repeated frames and no others", async () => {
    const sheet = await read(await contactSheet(plain(4, { repeatsLast: true })));
    const edge = (i: number): boolean[] => {
      const { left, top, width, height } = cell(i);
      return [sheet.at(left - 1, top - 1), sheet.at(left + 80, top - 3), sheet.at(left + width + 2, top + 140), sheet.at(left - 1, top + height), sheet.at(left + 80, top + height + 2)].map(isRed);
    };
    expect([0, 1, 2].flatMap(edge)).not.toContain(true);
    expect(edge(3)).toEqual(Array.from({ length: 5 }, () => true));
    expect(sheet.at(cell(3).left, cell(3).top)).toEqual([42, 42, 42]);
    expect(labelUnder(sheet, cell(3))).toEqual(labelUnder(sheet, cell(2)));
  });

  it("takes what a decoder hands out, one frame at a time", async () => {
    let isWaiting = false;
    async function* decoded(): AsyncGenerator<Frame> {
      for (const frame of plain(5)) {
        await Promise.resolve();
        expect(isWaiting).toBe(false);
        isWaiting = true;
        yield frame;
        isWaiting = false;
      }
    }
    expect(await contactSheet(decoded())).toEqual(await contactSheet(plain(5)));
  });

  it.each([
    { remark: "from the first to the last", count: 71, maxFrames: 4, shown: [0, 23, 47, 70] },
    { remark: "one is the first", count: 9, maxFrames: 1, shown: [0] },
    { remark: "fewer than allowed", count: 3, maxFrames: 40, shown: [0, 1, 2] },
  ])("thins out evenly: $remark", async ({ count, maxFrames, shown }) => {
    const sheet = await read(await contactSheet(plain(count), { maxFrames }));
    expect(sheet.width).toBe(8 + shown.length * 168);
    expect(shown.map((_, i) => sheet.at(cell(i).left + 80, 140)[0] - 40)).toEqual(shown);
  });

  it("keeps the shape of any frame and never enlarges it", async () => {
    const side = fc.integer({ min: 1, max: 12 }).map((cells) => cells * 28);
    await fc.assert(
      fc.asyncProperty(side, side, fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 4 }), async (width, height, count, columns) => {
        const sheet = await read(await contactSheet(plain(count, { width, height }), { columns }));
        const w = Math.min(160, width);
        const h = Math.max(1, Math.round((height * w) / width));
        expect([sheet.width, sheet.height]).toEqual([8 + Math.min(columns, count) * (w + 8), 8 + Math.ceil(count / columns) * (h + 32)]);
      }),
      { numRuns: 25 },
    );
  });

  it("refuses no frames, and frames that do not fit together", async () => {
    const [frame, other] = [[...plain(1)][0]!, [...plain(1, { width: 28 })][0]!];
    const cases: [Frame[], string][] = [
      [[], "VIDEO_NO_FRAMES"],
      [[frame, other], "VIDEO_FRAMES_INVALID"],
      [[{ ...frame, data: frame.data.subarray(1) }], "VIDEO_FRAMES_INVALID"],
    ];
    for (const [frames, code] of cases) {
      const error: unknown = await contactSheet(frames).catch((reason: unknown) => reason);
      expect(VideoError.isInstance(error) && error.code).toBe(code);
    }
  });

  it("lets the decoder's own error through", async () => {
    function* cut(): Generator<Frame> {
      yield* plain(2);
      throw new VideoError("cut", { code: "VIDEO_TRUNCATED", hint: "Fetch it again." });
    }
    await expect(contactSheet(cut())).rejects.toThrow(expect.objectContaining({ code: "VIDEO_TRUNCATED" }) as Error);
  });
});
