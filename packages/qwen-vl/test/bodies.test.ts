import { expect, it } from "vitest";
import { startWay } from "./backends.ts";
import { cacheTests } from "./bodies/cache.ts";
import { everyBody, everyNarrowBody } from "./bodies/every-body.ts";
import { gradientTests } from "./bodies/gradients.ts";
import { largeTests } from "./bodies/large.ts";
import { sameEverywhereTests } from "./bodies/same-everywhere.ts";
import { loadReference } from "./support.ts";

const started = await startWay("compiled");
if ("missing" in started) {
  const { name, missing } = started;
  process.stdout.write(`bodies were not compared between ${name} and wasm, nor their backward passes with TensorFlow's gradients: ${missing}\n`);
  it(`bodies on ${name} are not tested: ${missing}`, ({ skip }) => skip(missing));
} else {
  const ref = await loadReference(started.loaded);
  const bodies = await everyBody(ref);
  const narrow = await everyNarrowBody(ref);
  ref.model.dispose();

  it("bodies were recorded from compiled functions", () => {
    expect(started.loaded.binding).toBe("koffi");
  });
  sameEverywhereTests(ref, bodies, narrow);
  gradientTests(ref, bodies);
  cacheTests(ref, bodies);
  largeTests(ref);
}
