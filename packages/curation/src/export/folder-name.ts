import { sha256 } from "@dramascope/schema";

/** Safe name of a drama's folder: its id where that is plain, else the hash of it. */
export function folderName(dramaId: string): string {
  return /^[\w-]{1,64}$/u.test(dramaId) ? dramaId : sha256(dramaId);
}
