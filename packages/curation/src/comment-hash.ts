import { createHmac } from "node:crypto";
import { CurationError } from "./errors.ts";
import { commentKey } from "./choose-comments.ts";

/**
 * Name under which a comment is recognised when it comes again: HMAC-SHA256 of its text as it is compared, before anything is redacted, 64
 * hex digits. Without the salt nobody can try out texts.
 *
 * @param salt Secret of the collection, not empty.
 * @throws CurationError `SALT_MISSING` for an empty salt.
 */
export function commentHash(salt: string, text: string): string {
  if (salt === "") throw new CurationError("comments cannot be hashed with an empty salt", { code: "SALT_MISSING", hint: "Give a secret text that stays the same for the collection." });
  return createHmac("sha256", salt).update(commentKey(text)).digest("hex");
}
