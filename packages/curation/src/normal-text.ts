/** Text as it is compared: compatibility forms, white space folded. */
export const normalText = (text: string): string => text.normalize("NFKC").replace(/\s+/gu, " ").trim();
