/** Tasks from random perceptrons: a part of OpenPFN's `MLPPrior`, in TypeScript. */
import { Random } from "./random";

export interface Sliders {
  nRows: number;
  nColumns: number;
  nClasses: number;
  depth: number;
  /** How steep the nodes' functions are. */
  slope: number;
  /** Noise on every node, in deviations. */
  noise: number;
  /** Share of wrong labels. */
  wrong: number;
  /** Share of tasks whose columns are the causes themselves. */
  direct: number;
}

export interface DrawnTask {
  x: Float64Array;
  y: Float64Array;
  n: number;
  d: number;
  nClasses: number;
  /** What was drawn, in words. */
  activation: string;
  rule: string;
}

const WIDTH = 24;
/** Activations and their weights, as in openpfn.scm.activations; `fourier` is left out. */
const KINDS: Record<string, { weight: number; of: (z: number) => number }> = {
  identity: { weight: 0.2, of: (z) => z },
  tanh: { weight: 0.14, of: Math.tanh },
  relu: { weight: 0.1, of: (z) => Math.max(0, z) },
  "leaky relu": { weight: 0.06, of: (z) => (z > 0 ? z : 0.2 * z) },
  softplus: { weight: 0.04, of: (z) => Math.log1p(Math.exp(Math.min(z, 30))) },
  sine: { weight: 0.06, of: Math.sin },
  abs: { weight: 0.05, of: Math.abs },
  square: { weight: 0.05, of: (z) => Math.min(4, Math.abs(z)) ** 2 },
  bump: { weight: 0.05, of: (z) => Math.exp(-Math.min(25, z * z)) },
  sign: { weight: 0.03, of: Math.sign },
  steps: { weight: 0.03, of: Math.floor },
  modulo: { weight: 0.03, of: (z) => z - Math.trunc(z) },
};
const RULES = { cut: 0.4, bins: 0.12, argmax: 0.18, prototype: 0.3 };
const N_SCORES = 3;
const MOST_TRIES = 40;

/** A task whose classes all have rows: columns and target are nodes of one random perceptron. */
export function drawTask(sliders: Sliders, seed: number): DrawnTask {
  const random = new Random(seed);
  let task = drawOnce(sliders, random);
  for (let i = 0; i < MOST_TRIES && !isUsable(task); i++) task = drawOnce(sliders, random);
  return task;
}

function isUsable(task: DrawnTask): boolean {
  const counts = new Array<number>(task.nClasses).fill(0);
  task.y.forEach((label) => counts[label]++);
  return Math.min(...counts) >= Math.max(2, 0.04 * task.n);
}

function drawOnce(sliders: Sliders, random: Random): DrawnTask {
  const { nRows: n, nColumns: d, nClasses } = sliders;
  const names = Object.keys(KINDS);
  const weights = names.map((name) => KINDS[name].weight);
  const palette = [0, 1, 2].map(() => names[random.choice(weights)]);
  if (random.flag(0.4)) palette.fill(palette[0]);
  const isDirect = random.flag(sliders.direct);
  const nCauses = isDirect ? d : Math.round(random.logUniform(2, 12));
  const roots = Array.from({ length: nCauses }, () => causes(n, random));
  const layers: Float64Array[][] = [];
  let nodes = roots;
  for (let l = 0; l < sliders.depth; l++) {
    nodes = Array.from({ length: WIDTH }, () => nodeOf(nodes, palette, sliders, n, random));
    layers.push(nodes);
  }
  const all = isDirect ? nodes : layers.flat();
  const order = random.permutation(all.length);
  const shown = isDirect ? roots : order.slice(N_SCORES, N_SCORES + d).map((i) => all[i]);
  const columns = shown.map((node) => dressed(node, random));
  const scores = order.slice(0, N_SCORES).map((i) => standardised(all[i]));
  const rule = Object.keys(RULES)[random.choice(Object.values(RULES))] as keyof typeof RULES;
  const y = labelled(scores, rule, nClasses, random);
  for (let i = 0; i < n; i++) if (random.flag(sliders.wrong)) y[i] = random.below(nClasses);
  const x = new Float64Array(n * d);
  columns.forEach((column, j) => column.forEach((value, i) => (x[i * d + j] = value)));
  return { x, y, n, d, nClasses, activation: [...new Set(palette)].join(", "), rule };
}

/** Root causes: normal, uniform, or of a few clusters. */
function causes(n: number, random: Random): Float64Array {
  const kind = random.below(3);
  const centres = [0, 1, 2].map(() => 1.5 * random.normal());
  return Float64Array.from({ length: n }, () => {
    if (kind === 0) return random.normal();
    if (kind === 1) return random.uniform(-1.7, 1.7);
    return centres[random.below(3)] + 0.4 * random.normal();
  });
}

/** A node: an activation of a weighted sum of the standardised nodes before it, plus noise. */
function nodeOf(
  before: Float64Array[],
  palette: string[],
  sliders: Sliders,
  n: number,
  random: Random,
): Float64Array {
  const weights = before.map(() => random.normal() * (random.flag(0.5) ? 1 : 0));
  if (!weights.some((weight) => weight !== 0)) weights[random.below(weights.length)] = 1;
  const norm = Math.hypot(...weights);
  const slope = (sliders.slope * random.uniform(0.5, 1.5)) / norm;
  const offset = 0.6 * random.normal();
  const activation = KINDS[palette[random.below(3)]].of;
  const inputs = before.map(standardised);
  return Float64Array.from({ length: n }, (_, i) => {
    let z = offset + sliders.noise * random.normal();
    weights.forEach((weight, k) => (z += slope * weight * inputs[k][i]));
    return activation(z);
  });
}

function standardised(values: Float64Array): Float64Array {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  const scale = variance > 1e-8 ? 1 / Math.sqrt(variance) : 0;
  return values.map((value) => (value - mean) * scale);
}

/** A column as a table has it: some are warped, rounded or categories. */
function dressed(node: Float64Array, random: Random): Float64Array {
  const z = standardised(node);
  if (random.flag(0.2)) return z.map((value) => Math.exp(Math.max(-4, Math.min(4, value))));
  if (random.flag(0.1)) return z.map((value) => Math.round(2 * value) / 2);
  return z;
}

/** Classes from scores, by one of the rules of openpfn.scm.labels. */
function labelled(
  scores: Float64Array[],
  rule: keyof typeof RULES,
  nClasses: number,
  random: Random,
): Float64Array {
  const n = scores[0].length;
  if (rule === "cut" || rule === "bins") {
    const nRegions = rule === "cut" ? nClasses : nClasses + 1 + random.below(nClasses + 1);
    const deal = dealt(nRegions, nClasses, random);
    const sorted = scores[0].slice().sort();
    const bounds = Array.from({ length: nRegions - 1 }, (_, k) =>
      sorted[Math.floor(((k + 1) * n) / nRegions)],
    );
    return scores[0].map((value) => deal[bounds.filter((bound) => value >= bound).length]);
  }
  const nRegions = rule === "prototype" ? nClasses * (1 + random.below(2)) : nClasses;
  const deal = dealt(nRegions, nClasses, random);
  const centres = Array.from({ length: nRegions }, () => {
    const row = random.below(n);
    return scores.map((score) => (rule === "prototype" ? score[row] : random.normal()));
  });
  const offsets = centres.map((centre) =>
    rule === "prototype" ? -centre.reduce((sum, value) => sum + value * value, 0) : 0.5 * random.normal(),
  );
  const slope = rule === "prototype" ? 2 : 1;
  return Float64Array.from({ length: n }, (_, i) => {
    let best = 0;
    let most = -Infinity;
    centres.forEach((centre, r) => {
      let value = offsets[r];
      centre.forEach((weight, k) => (value += slope * weight * scores[k][i]));
      if (value > most) [best, most] = [r, value];
    });
    return deal[best];
  });
}

/** The regions dealt out to the classes in random order, every class at least one. */
function dealt(nRegions: number, nClasses: number, random: Random): number[] {
  const classes = random.permutation(nClasses);
  return Array.from({ length: nRegions }, (_, region) => classes[region % nClasses]);
}
