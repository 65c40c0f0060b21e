/** Columns in units of their deviation, and the order of classes, as `PFNClassifier` makes them. */

export interface Rows {
  x: Float64Array;
  n: number;
  d: number;
  /** Which columns hold codes of categories. */
  isCategory: boolean[];
}

export function takeRows(rows: Rows, chosen: ArrayLike<number>): Rows {
  const x = new Float64Array(chosen.length * rows.d);
  for (let i = 0; i < chosen.length; i++) {
    x.set(rows.x.subarray(chosen[i] * rows.d, (chosen[i] + 1) * rows.d), i * rows.d);
  }
  return { ...rows, x, n: chosen.length };
}

/** (x - mean) / deviation in double precision, of the columns that vary; missing stays NaN. */
export class Standardised {
  /** Columns with at least two different values in the context; missing counts as one. */
  readonly columns: number[] = [];
  private readonly unit: number[] = [];
  private readonly mean: number[] = [];
  private readonly deviation: number[] = [];

  constructor(context: Rows) {
    for (let j = 0; j < context.d; j++) {
      const values = column(context, j);
      const present = values.filter((value) => !Number.isNaN(value));
      const isGappy = present.length > 0 && present.length < values.length;
      if (!isGappy && present.every((value) => value === present[0])) continue;
      const unit = present.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
      const scaled = present.map((value) => value / unit);
      const mean = scaled.reduce((a, b) => a + b, 0) / scaled.length;
      const variance = scaled.reduce((sum, v) => sum + (v - mean) ** 2, 0) / scaled.length;
      this.columns.push(j);
      this.unit.push(unit);
      this.mean.push(mean);
      this.deviation.push(variance > 1e-24 ? Math.sqrt(variance) : 1);
    }
  }

  /** Rows (n, columns that vary) as the networks read them. */
  read(rows: Rows): Float32Array {
    const width = this.columns.length;
    const out = new Float32Array(rows.n * width);
    for (let i = 0; i < rows.n; i++) {
      for (let c = 0; c < width; c++) {
        const value = rows.x[i * rows.d + this.columns[c]];
        const z = (value / this.unit[c] - this.mean[c]) / this.deviation[c];
        out[i * width + c] = Math.max(-1e6, Math.min(1e6, z));
      }
    }
    return out;
  }
}

/** Differences from each column's first value, in units of a power of two near the largest: exact
 * where the values allow it, so that equal means of two classes stay equal in single precision. */
export class Differences {
  readonly columns: number[];
  private readonly origin: number[];
  private readonly unit: number[];

  constructor(context: Rows) {
    this.columns = new Standardised(context).columns;
    const present = this.columns.map((j) => column(context, j).filter((v) => !Number.isNaN(v)));
    this.origin = present.map((values) => values[0]);
    this.unit = present.map((values) => {
      const largest = values.reduce((most, value) => Math.max(most, Math.abs(value - values[0])), 0);
      return largest > 0 ? 2 ** Math.floor(Math.log2(largest)) : 1;
    });
  }

  /** Rows (n, columns that vary) as the exported library reads them. */
  read(rows: Rows): Float32Array {
    const width = this.columns.length;
    const out = new Float32Array(rows.n * width);
    for (let i = 0; i < rows.n; i++) {
      for (let c = 0; c < width; c++) {
        const value = (rows.x[i * rows.d + this.columns[c]] - this.origin[c]) / this.unit[c];
        out[i * width + c] = Math.max(-FARTHEST, Math.min(FARTHEST, value));
      }
    }
    return out;
  }
}

/** Values of query rows may lie anywhere: the network only needs to know "far". */
const FARTHEST = 1e20;

function column(rows: Rows, j: number): number[] {
  return Array.from({ length: rows.n }, (_, i) => rows.x[i * rows.d + j]);
}

/** The place of each class: frequent classes first, then those of the smaller mean in the first
 * column where means differ. Names do not matter. */
export function canonicalPlaces(context: Rows, y: ArrayLike<number>, nClasses: number): number[] {
  const keys = Array.from({ length: nClasses }, (_, label) => {
    const own = Array.from({ length: context.n }, (_, i) => i).filter((i) => y[i] === label);
    const means = Array.from({ length: context.d }, (_, j) => {
      const values = own.map((i) => context.x[i * context.d + j]).filter((v) => !Number.isNaN(v));
      values.sort((a, b) => a - b);
      return values.length ? values.reduce((a, b) => a + b, 0) / values.length : Infinity;
    });
    return { label, n: own.length, means };
  });
  keys.sort((a, b) => {
    if (a.n !== b.n) return b.n - a.n;
    const j = a.means.findIndex((mean, k) => mean !== b.means[k]);
    return j < 0 ? a.label - b.label : a.means[j] - b.means[j];
  });
  const places = new Array<number>(nClasses);
  keys.forEach((key, place) => (places[key.label] = place));
  return places;
}
