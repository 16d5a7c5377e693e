import { existsSync } from "node:fs";
import { dirname, isAbsolute, resolve } from "node:path";
import type { CurationConfig } from "../config.ts";

/** Where an episode's file lies: as it stands when absolute, else in the first media root that has it, else in the first one. Records keep the path as it was given, for hosts differ. */
export function mediaPath({ input }: Pick<CurationConfig, "input">, path: string): string {
  if (isAbsolute(path)) return path;
  const roots = input === undefined ? ["."] : input.mediaRoots.length > 0 ? input.mediaRoots : [dirname(input.dramas)];
  const places = roots.map((root) => resolve(root, path));
  return places.find((place) => existsSync(place)) ?? places[0]!;
}
