import { chooseComments } from "@dramascope/curation";
import { expect, it } from "vitest";
import { golden } from "./golden.ts";

interface Case {
  name: string;
  rows: { id: string; text: string; likes: number; episode: number }[];
  expect: string[];
}

it.each(golden<{ cases: Case[] }>("comments.json").cases)("$name", ({ rows, expect: expected }) => {
  expect(chooseComments(rows).map(({ id }) => id)).toEqual(expected);
});

it("counts a comment without an episode among the first five, and one of invisible marks as blank", () => {
  const rows = [{ text: "\u200b\u202e", likes: 9 }, { text: "good\u200b", likes: 2 }, { text: "GOOD", likes: 1 }, { text: "later", likes: 5, episode: 6 }];
  expect(chooseComments(rows)).toEqual([rows[1]]);
});

it("takes as many as are wanted, none too", () => {
  const rows = [{ text: "a", likes: 1 }, { text: "b", likes: 2 }];
  expect([chooseComments(rows, 1), chooseComments(rows, 0)]).toEqual([[rows[1]], []]);
});
