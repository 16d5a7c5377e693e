import type { EpisodeFile, Quality, Split } from "@dramascope/schema";

/** A drama's data that leave this machine or an export needs: redacted, without title and without user ids. */
export interface StoredDrama {
  /** Id of the drama. */
  dramaId: string;
  /** Genre as it was given. */
  genre?: string;
  /** The episodes that are looked at. */
  episodes: readonly EpisodeFile[];
  /** Redacted; `hash` is the salted hash of the text as it came. */
  comments: readonly { text: string; likes: number; episode?: number; hash?: string }[];
  /** Redacted. */
  transcript?: string;
  /** Hash of the hot value model that gave the class. */
  classCalibration?: string;
}

/** A drama with its class and its place. */
export interface DramaRecord {
  /** Well-formed, without NUL. */
  dramaId: string;
  /** SHA-256 in hex of split and id, as in the id of the drama's first record (`sft-ID`): the order of every export. */
  order: string;
  /** SHA-256 of everything that answers depend on. */
  contentHash: string;
  /** The known class, 1 to 5. */
  quality: Quality;
  /** The set that the drama belongs to. */
  split: Split;
  /** Dramas of one group stay in one split. */
  groupId: string;
  /** What requests and exports are made from. */
  drama: StoredDrama;
}
