/** Draws the frames of a drama: five episodes of four seconds, one frame a second, 56 × 84 pixels, from visible traits alone. */
import type { CreateRandom, WorldDrama } from "./traits.ts";

export const FRAME_WIDTH = 56;
export const FRAME_HEIGHT = 84;
export const FRAMES_PER_EPISODE = 4;
export const EPISODES = 5;
export const FRAME_BYTES = FRAME_WIDTH * FRAME_HEIGHT * 3;

type Colour = readonly [number, number, number];

const LEAD_COLOURS: Readonly<Record<string, Colour>> = { red: [214, 40, 40], blue: [40, 70, 220], green: [40, 160, 60], white: [238, 238, 238], black: [24, 24, 24], purple: [150, 50, 190] };
const WALLS: readonly Colour[] = [[90, 170, 220], [225, 190, 90], [160, 160, 170], [95, 85, 80], [130, 200, 110], [215, 245, 240]];
const FLOORS: readonly Colour[] = [[30, 90, 140], [140, 90, 40], [90, 90, 110], [50, 50, 50], [60, 120, 40], [150, 190, 190]];
const BANNERS: Readonly<Record<string, Colour>> = { revenge: [130, 10, 20], romance: [250, 130, 180], mystery: [60, 20, 110], family: [250, 150, 30] };
const SKIN: Colour = [236, 196, 160];
const GREY: Colour = [120, 120, 120];
const EYES: Colour = [20, 20, 20];
const WARM_MOUTH: Colour = [190, 20, 60];
const FLAT_MOUTH: Colour = [90, 60, 50];
const SPARK: Colour = [255, 240, 40];

/** A frame under construction; later shapes cover earlier ones. */
class Canvas {
  readonly pixels = new Float32Array(FRAME_BYTES);

  rect(x0: number, y0: number, x1: number, y1: number, colour: Colour): void {
    for (let y = Math.max(0, y0); y < Math.min(FRAME_HEIGHT, y1); y++) for (let x = Math.max(0, x0); x < Math.min(FRAME_WIDTH, x1); x++) this.#set(x, y, colour);
  }

  disc(cx: number, cy: number, rx: number, ry: number, colour: Colour): void {
    const [top, bottom] = [Math.max(0, Math.floor(cy - ry)), Math.min(FRAME_HEIGHT - 1, Math.ceil(cy + ry))];
    const [left, right] = [Math.max(0, Math.floor(cx - rx)), Math.min(FRAME_WIDTH - 1, Math.ceil(cx + rx))];
    for (let y = top; y <= bottom; y++) for (let x = left; x <= right; x++) if (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1) this.#set(x, y, colour);
  }

  figure(x: number, y: number, colour: Colour, isWarm: boolean): void {
    this.rect(x - 6, y + 8, x + 6, y + 26, colour);
    this.disc(x, y, 8, 9, SKIN);
    this.rect(x - 4, y - 3, x - 2, y - 1, EYES);
    this.rect(x + 2, y - 3, x + 4, y - 1, EYES);
    if (isWarm) this.disc(x, y + 4, 5, 3.2, WARM_MOUTH);
    else this.rect(x - 3, y + 4, x + 3, y + 5, FLAT_MOUTH);
  }

  #set(x: number, y: number, colour: Colour): void {
    const at = (y * FRAME_WIDTH + x) * 3;
    this.pixels[at] = colour[0];
    this.pixels[at + 1] = colour[1];
    this.pixels[at + 2] = colour[2];
  }
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

interface EpisodeShift {
  dx: number;
  dy: number;
  /** One a frame, 0 … 12. */
  brightness: number[];
}

function drawFrame(drama: WorldDrama, episode: number, t: number, { dx, dy, brightness }: EpisodeShift): Uint8Array {
  const canvas = new Canvas();
  const place = drama.places[episode]!;
  const isDark = drama.happens.cuts[episode] && t % 2 === 1;
  const shade = (colour: Colour): Colour => (isDark ? [colour[0] * 0.5, colour[1] * 0.5, colour[2] * 0.5] : colour);
  canvas.rect(0, 0, FRAME_WIDTH, 58, shade(WALLS[place]!));
  canvas.rect(0, 58, FRAME_WIDTH, FRAME_HEIGHT, shade(FLOORS[place]!));
  canvas.rect(0, 0, FRAME_WIDTH, 8, BANNERS[drama.genre]!);
  for (let i = 0; i < drama.extras; i++) canvas.figure(10 + 36 * i, 26, GREY, false);
  const step = drama.happens.figures[episode] ? (t % 2 === 0 ? -5 : 5) : 0;
  const isFight = drama.happens.fights[episode] === true && t >= 2;
  const [left, right] = isFight ? [19 + dx, 37 + dx] : [13 + dx + step, 43 + dx - step];
  const isWarm = drama.happens.faces[episode] === true;
  canvas.figure(left, 36 + dy, LEAD_COLOURS[drama.leads[0]]!, isWarm);
  canvas.figure(right, 36 + dy, LEAD_COLOURS[drama.leads[1]]!, isWarm);
  if (isFight) {
    canvas.rect(24 + dx, 12, 32 + dx, 28, SPARK);
    canvas.rect(20 + dx, 16, 36 + dx, 24, SPARK);
  }
  if (drama.levels.end === 2 && episode === 4 && t === 3) {
    canvas.rect(40, 10, 54, 26, [255, 255, 255]);
    canvas.rect(45, 13, 49, 23, [0, 0, 0]);
  }
  const factor = Math.fround(1 + (brightness[t]! - 6) / 100);
  const bytes = new Uint8Array(FRAME_BYTES);
  for (let i = 0; i < FRAME_BYTES; i++) bytes[i] = Math.min(255, Math.max(0, roundHalfEven(Math.fround(canvas.pixels[i]! * factor))));
  return bytes;
}

/** All 20 frames without numbers: rgb24, [20, 84, 56, 3]. */
export function drawFrames(drama: WorldDrama, createRandom: CreateRandom): Uint8Array {
  const random = createRandom(drama.frameSeed, { stream: 7 });
  const frames = new Uint8Array(EPISODES * FRAMES_PER_EPISODE * FRAME_BYTES);
  for (let episode = 0; episode < EPISODES; episode++) {
    const dx = random.below(5) - 2;
    const dy = random.below(5) - 2;
    const brightness = Array.from({ length: FRAMES_PER_EPISODE }, () => random.below(13));
    for (let t = 0; t < FRAMES_PER_EPISODE; t++) frames.set(drawFrame(drama, episode, t, { dx, dy, brightness }), (episode * FRAMES_PER_EPISODE + t) * FRAME_BYTES);
  }
  return frames;
}

/** Burns a number into one frame, in place; the video package's `drawNumber` fits. */
export type DrawNumber = (rgb: Uint8Array, width: number, height: number, label: number) => void;

/** All 20 frames with their seconds burned in. */
export function drawStampedFrames(drama: WorldDrama, createRandom: CreateRandom, drawNumber: DrawNumber): Uint8Array {
  const frames = drawFrames(drama, createRandom);
  for (let i = 0; i < EPISODES * FRAMES_PER_EPISODE; i++) drawNumber(frames.subarray(i * FRAME_BYTES, (i + 1) * FRAME_BYTES), FRAME_WIDTH, FRAME_HEIGHT, i);
  return frames;
}
