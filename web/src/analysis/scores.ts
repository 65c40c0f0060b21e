/** How good and how well calibrated predictions are. */

export interface ClassScores {
  n: number;
  accuracy: number;
  logLoss: number;
  /** Log-loss of always saying how frequent the classes are. */
  baseLogLoss: number;
  calibrationError: number;
  /** Held-out rows by the probability of the class that was predicted. */
  bins: CalibrationBin[];
}

export interface CalibrationBin {
  n: number;
  confidence: number;
  accuracy: number;
}

const N_BINS = 10;
const LEAST = 1e-12;

/** Scores of probabilities (n, k) for classes y (n). */
export function classScores(proba: Float64Array, y: ArrayLike<number>, k: number): ClassScores {
  const n = y.length;
  const sums = Array.from({ length: N_BINS }, () => ({ n: 0, confidence: 0, accuracy: 0 }));
  const counts = new Array<number>(k).fill(0);
  let [right, loss] = [0, 0];
  for (let i = 0; i < n; i++) {
    const row = proba.subarray(i * k, (i + 1) * k);
    const best = argmax(row);
    const isRight = best === y[i] ? 1 : 0;
    right += isRight;
    loss -= Math.log(Math.max(row[y[i]], LEAST));
    counts[y[i]]++;
    const bin = sums[Math.min(N_BINS - 1, Math.floor(row[best] * N_BINS))];
    bin.n++;
    bin.confidence += row[best];
    bin.accuracy += isRight;
  }
  const bins = sums
    .filter((bin) => bin.n > 0)
    .map((bin) => ({ n: bin.n, confidence: bin.confidence / bin.n, accuracy: bin.accuracy / bin.n }));
  const gap = (bin: CalibrationBin) => (bin.n / n) * Math.abs(bin.confidence - bin.accuracy);
  return {
    n,
    accuracy: right / n,
    logLoss: loss / n,
    baseLogLoss: -counts.reduce((sum, c) => sum + (c ? (c / n) * Math.log(c / n) : 0), 0),
    calibrationError: bins.reduce((sum, bin) => sum + gap(bin), 0),
    bins,
  };
}

export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

export interface NumberScores {
  n: number;
  rmse: number;
  /** Share of the variance that the medians explain. */
  r2: number;
  /** Mean pinball loss over all quantiles, twice: about the CRPS, in units of the target. */
  crps: number;
  /** Share of the rows inside central intervals of several sizes. */
  coverage: { wanted: number; got: number }[];
}

const SIZES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/** Scores of quantiles (n, width) at even levels for numbers y (n). */
export function numberScores(
  quantiles: Float64Array,
  y: ArrayLike<number>,
  width: number,
): NumberScores {
  const n = y.length;
  const mean = Array.from(y).reduce((a, b) => a + b, 0) / n;
  let [squares, total] = [0, 0];
  const inside = SIZES.map(() => 0);
  const crps = pinball(quantiles, y, width).reduce((a, b) => a + b, 0) / n;
  for (let i = 0; i < n; i++) {
    const row = quantiles.subarray(i * width, (i + 1) * width);
    squares += (quantile(row, 0.5) - y[i]) ** 2;
    total += (y[i] - mean) ** 2;
    SIZES.forEach((size, s) => {
      const [low, high] = interval(row, size);
      inside[s] += y[i] >= low && y[i] <= high ? 1 : 0;
    });
  }
  return {
    n,
    rmse: Math.sqrt(squares / n),
    r2: total > 0 ? 1 - squares / total : 0,
    crps,
    coverage: SIZES.map((wanted, s) => ({ wanted, got: inside[s] / n })),
  };
}

/** Twice the mean pinball loss of each row's quantiles. */
export function pinball(quantiles: Float64Array, y: ArrayLike<number>, width: number): Float64Array {
  return Float64Array.from({ length: y.length }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < width; k++) {
      const level = (k + 0.5) / width;
      const over = y[i] - quantiles[i * width + k];
      sum += Math.max(level * over, (level - 1) * over);
    }
    return (2 * sum) / width;
  });
}

/** The quantile at a level, between those at even levels. */
export function quantile(values: ArrayLike<number>, level: number): number {
  const place = Math.max(0, Math.min(values.length - 1, level * values.length - 0.5));
  const k = Math.min(values.length - 2, Math.floor(place));
  return values[k] + (place - k) * (values[k + 1] - values[k]);
}

/** The central interval that holds so much of the probability. */
export function interval(values: ArrayLike<number>, size: number): [number, number] {
  return [quantile(values, (1 - size) / 2), quantile(values, (1 + size) / 2)];
}

/** Loss of each row: -log probability of its class, or the pinball loss of its number. */
export function rowLosses(
  outputs: Float64Array,
  y: ArrayLike<number>,
  width: number,
  ofClasses: boolean,
): Float64Array {
  if (!ofClasses) return pinball(outputs, y, width);
  return Float64Array.from({ length: y.length }, (_, i) =>
    -Math.log(Math.max(outputs[i * width + y[i]], LEAST)),
  );
}
