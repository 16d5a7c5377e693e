import { bootstrapCi, computeMetrics, createRandom } from "@dramascope/evaluation";
import { median, type Bench } from "./result.ts";

const SET = { items: 1000, replicates: 2000, limitSeconds: 0.5 };
const CATALOGUE = { items: 1_000_000, limitSeconds: 1.5 };

/** True classes of a balanced set with noisy real-valued predictions, the slowest kind: nearly all distinct. */
function makeItems(n: number): { gold: number[]; predictions: number[] } {
  const random = createRandom(1);
  const gold = Array.from({ length: n }, (_, i) => 1 + (i % 5));
  return { gold, predictions: gold.map((label) => Math.min(5, Math.max(1, label + random.normal()))) };
}

function seconds(work: () => unknown): number {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
}

const round = (value: number): number => Number(value.toFixed(3));

/** One evaluation set with intervals, and one whole catalogue without, on one thread, against the times that they may take. */
export const bench: Bench = ({ isQuick, rows = CATALOGUE.items, say }) => {
  const runs = isQuick ? 2 : 7;
  const set = makeItems(SET.items);
  const catalogue = makeItems(rows);
  const limit = (CATALOGUE.limitSeconds * rows) / CATALOGUE.items;
  const times: { set: number[]; catalogue: number[] } = { set: [], catalogue: [] };
  for (let run = 0; run < runs; run++) {
    times.set.push(
      seconds(() => {
        computeMetrics(set.gold, set.predictions);
        bootstrapCi(set.gold, set.predictions, { replicates: SET.replicates });
      }),
    );
    times.catalogue.push(seconds(() => computeMetrics(catalogue.gold, catalogue.predictions)));
    say(`round ${run + 1} of ${runs}: ${SET.items} items with intervals ${times.set.at(-1)!.toFixed(2)} s, ${rows} items ${times.catalogue.at(-1)!.toFixed(2)} s`);
  }
  const [least, leastSet] = [Math.min(...times.catalogue), Math.min(...times.set)];
  const ratio = Math.max(least / limit, leastSet / SET.limitSeconds);
  return Promise.resolve({
    name: "evaluation",
    ratio,
    goal: `at most 1 × the limits: ${SET.items} items with ${SET.replicates} replicates in ${SET.limitSeconds} s, all metrics of ${rows} items in ${limit} s`,
    met: ratio <= 1,
    ours: round(least),
    peer: null,
    unit: "s",
    runs,
    peerName: "a limit, not a peer",
    extra: { setSeconds: round(leastSet), setMedianSeconds: round(median(times.set)), setLimitSeconds: SET.limitSeconds, rows, medianSeconds: round(median(times.catalogue)), limitSeconds: limit },
  });
};
