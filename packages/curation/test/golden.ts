import { readFileSync } from "node:fs";

/** A golden file of this package. */
export const golden = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../../../test-fixtures/goldens/curation/${name}`, import.meta.url), "utf8")) as T;
