/** Why a drama or record is not in a training set. */
export const LEFT_OUT_REASONS = {
  pending: "answers are still missing",
  blocked: "the teacher refused",
  "no-caption": "no usable caption",
  "no-valid-round": "no chain of thought passed the rules",
  "no-comments": "no kept comment for an answer in tags",
  "tag-text": "caption or chain of thought holds the text of a tag",
  "over-class-cap": "more records than the cap of the class",
} as const;
/** Why a drama or record is not in a training set. */
export type LeftOutReason = keyof typeof LEFT_OUT_REASONS;
