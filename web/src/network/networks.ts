/** The shipped networks: shown a context, they answer rows. */
import { Module } from "./memory";
import { Differences, Rows, Standardised, canonicalPlaces } from "./standardise";

export type NetworkName = "tiny" | "tiny-int8" | "tiny-int" | "nano" | "nano-numbers";

export interface Fitted {
  /** Outputs of a row: probabilities of classes, or increasing quantiles of a number. */
  width: number;
  /** Outputs (n, width) of rows. */
  predict(rows: Rows): Float64Array;
}

export interface Network {
  /** Context rows that it is shown at most. */
  mostRows: number;
  /** Show it rows and their targets; `nClasses` is 0 where these are numbers. */
  fit(context: Rows, y: ArrayLike<number>, nClasses: number): Fitted;
}

/** Statuses of pfn.h, for those that rows of a table can bring about. */
const REASONS: Record<number, string> = {
  6: "a column holds a value that is too large, or varies too little, for single precision",
};

export async function load(name: NetworkName, base: string): Promise<Network> {
  const module = await Module.load(new URL(`${name}.wasm`, base).href);
  if (name === "nano" || name === "nano-numbers") return new Kept(module);
  return new Exported(module);
}

/** What `openpfn export c` wrote: a context of constant size. */
export class Exported implements Network {
  readonly mostRows = 5000;

  constructor(readonly module: Module) {}

  fit(context: Rows, y: ArrayLike<number>, nClasses: number): Fitted {
    const { module } = this;
    const { calls } = module;
    const differences = new Differences(context);
    const width = differences.columns.length;
    if (width === 0) return frequencies(y, nClasses);
    module.release();
    const x = module.put(differences.read(context));
    const labels = module.put(Int32Array.from(y));
    const cacheBytes = calls.cache_bytes(width) * context.n;
    const cache = module.take(cacheBytes);
    check(calls.fit(x, labels, context.n, width, nClasses, cache, cacheBytes));
    module.release();
    const predict = (rows: Rows): Float64Array => {
      module.release();
      const asked = module.put(differences.read(rows));
      const proba = module.take(4 * rows.n * nClasses);
      check(calls.predict(asked, rows.n, proba));
      return Float64Array.from(module.floats(proba, rows.n * nClasses));
    };
    return { width: nClasses, predict };
  }

  /** Bytes of the fitted states, column by column and layer by layer. */
  states(): { bytes: Uint8Array; stateBytes: number; nLayers: number; nColumns: number } {
    const { calls } = this.module;
    const [nColumns, nLayers, stateBytes] = [calls.n_columns(), calls.n_layers(), calls.state_bytes()];
    const count = ((nLayers - 1) * (nColumns + 1) + 1) * stateBytes;
    return { bytes: this.module.bytes(calls.states(), count).slice(), stateBytes, nLayers, nColumns };
  }
}

/** A network whose state grows with its context: wasm/kept.c. */
export class Kept implements Network {
  readonly mostRows = 300;

  constructor(readonly module: Module) {
    module.calls.prepare();
  }

  fit(context: Rows, y: ArrayLike<number>, nClasses: number): Fitted {
    const { module } = this;
    const { calls } = module;
    const standardised = new Standardised(context);
    const width = standardised.columns.length;
    if (width === 0) return nClasses ? frequencies(y, nClasses) : quantilesOf(y);
    const scale = nClasses ? undefined : new Scale(y);
    const places = nClasses ? canonicalPlaces(context, y, nClasses) : [];
    const nPresent = new Set(Array.from(y)).size; // classes without rows have the last places
    const targets = Float32Array.from(y, (value) => (scale ? scale.to(value) : places[value]));
    module.release();
    const x = module.put(standardised.read(context));
    const flags = standardised.columns.map((j) => (context.isCategory[j] ? 1 : 0));
    const categories = module.put(Float32Array.from(flags));
    const shown = module.put(targets);
    const memory = module.take(4 * calls.room(context.n, width));
    calls.fit(x, categories, shown, context.n, width, memory);
    const kept = module.mark;
    const nOutputs = calls.n_outputs();
    const predict = (rows: Rows): Float64Array => {
      module.release(kept);
      const asked = module.put(standardised.read(rows));
      const out = module.take(4 * rows.n * nOutputs);
      calls.predict(asked, rows.n, out);
      const answers = module.floats(out, rows.n * nOutputs);
      return scale
        ? numbersOf(answers, nOutputs, scale)
        : classesOf(answers, nOutputs, rows.n, places, nPresent);
    };
    return { width: nClasses || nOutputs, predict };
  }
}

/** How the context centres and scales a target that is a number. */
class Scale {
  readonly mean: number;
  readonly deviation: number;

  constructor(y: ArrayLike<number>) {
    const values = Array.from(y);
    this.mean = values.reduce((a, b) => a + b, 0) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - this.mean) ** 2, 0);
    this.deviation = Math.sqrt(squares / Math.max(1, values.length - 1)) || 1;
  }

  to(value: number): number {
    return (value - this.mean) / this.deviation;
  }
}

function numbersOf(answers: Float32Array, width: number, scale: Scale): Float64Array {
  const out = new Float64Array(answers.length);
  for (let at = 0; at < answers.length; at += width) {
    const sorted = answers.slice(at, at + width).sort();
    for (let k = 0; k < width; k++) out[at + k] = scale.mean + scale.deviation * sorted[k];
  }
  return out;
}

function classesOf(
  answers: Float32Array,
  width: number,
  n: number,
  places: number[],
  nPresent: number,
): Float64Array {
  const k = places.length;
  const out = new Float64Array(n * k);
  for (let i = 0; i < n; i++) {
    const logits = places.map((place) =>
      place < nPresent ? answers[i * width + place] : -Infinity,
    );
    const most = Math.max(...logits);
    const shares = logits.map((logit) => Math.exp(logit - most));
    const total = shares.reduce((a, b) => a + b, 0);
    shares.forEach((share, c) => (out[i * k + c] = share / total));
  }
  return out;
}

/** Where no column of the context varies: the frequencies of the classes. */
function frequencies(y: ArrayLike<number>, nClasses: number): Fitted {
  const shares = new Array<number>(nClasses).fill(0);
  for (let i = 0; i < y.length; i++) shares[y[i]] += 1 / y.length;
  const predict = (rows: Rows) =>
    Float64Array.from({ length: rows.n * nClasses }, (_, i) => shares[i % nClasses]);
  return { width: nClasses, predict };
}

function quantilesOf(y: ArrayLike<number>): Fitted {
  const sorted = Array.from(y).sort((a, b) => a - b);
  const width = 199;
  const at = (level: number) => sorted[Math.min(sorted.length - 1, Math.floor(level * sorted.length))];
  const predict = (rows: Rows) =>
    Float64Array.from({ length: rows.n * width }, (_, i) => at(((i % width) + 0.5) / width));
  return { width, predict };
}

function check(status: number): void {
  if (status === 0) return;
  throw new Error(`The network refused the rows: ${REASONS[status] ?? `status ${status}`}.`);
}
