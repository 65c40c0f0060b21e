/** Which rows are shown to a network, and which it is asked about. */
import { Random } from "../prior/random";

export interface Split {
  context: number[];
  heldOut: number[];
}

const MOST_FOLDED = 400;
const HELD_OUT_SHARE = 0.3;

/** Five folds of a small table; of a larger one, a random third held out once. */
export function splits(n: number, seed = 0): Split[] {
  const order = new Random(seed).permutation(n);
  if (n > MOST_FOLDED) {
    const nHeldOut = Math.min(2000, Math.round(n * HELD_OUT_SHARE));
    return [{ context: order.slice(nHeldOut), heldOut: order.slice(0, nHeldOut) }];
  }
  const nFolds = Math.min(5, n);
  return Array.from({ length: nFolds }, (_, fold) => ({
    context: order.filter((_, i) => i % nFolds !== fold),
    heldOut: order.filter((_, i) => i % nFolds === fold),
  }));
}

/** One split with at most so many rows on either side. */
export function oneSplit(n: number, mostContext: number, mostHeldOut: number, seed = 0): Split {
  const order = new Random(seed).permutation(n);
  const nHeldOut = Math.max(2, Math.min(mostHeldOut, Math.round(n * HELD_OUT_SHARE)));
  return {
    heldOut: order.slice(0, nHeldOut),
    context: order.slice(nHeldOut, nHeldOut + mostContext),
  };
}

/** So many of the rows, drawn at random where there are more. */
export function thinned(rows: number[], most: number, seed = 0): number[] {
  if (rows.length <= most) return rows;
  const order = new Random(seed).permutation(rows.length).slice(0, most);
  return order.map((i) => rows[i]);
}
