/** The decision surface over two columns, the others held at their middle. */
import { quantile } from "../analysis/scores";
import type { Task } from "../table/task";
import { ask } from "../worker/client";
import { card, choice, h, refill } from "../view/dom";
import { Scale, classLegend, gridAlong, paintSurface, planeOf, surfaceFrame } from "../view/surface";
import { css, numberColour } from "../view/palette";
import { short } from "../view/words";
import type { Asking, Part } from "./answers";

const SIZES: Record<string, number> = { tiny: 48, nano: 24, "nano-numbers": 20 };
const MOST_MARKS = 400;

export function surfaceCard(): Part {
  const controls = h("div", { class: "row" });
  const frames = h("div", { class: "frames" });
  const key = h("div", {});
  const element = card(
    "What it believes between the rows",
    "Two columns vary; the others stay at their median or commonest value. The paler, the less sure.",
    controls,
    frames,
    key,
  );
  let asking: Asking | undefined;
  let chosen: [number, number] = [0, 1];
  let paints: (() => void)[] = [];

  function ready(current: Asking): void {
    const { features } = current.task;
    const options = features.map(({ name }, j) => ({ value: String(j), text: name }));
    const pick = (axis: 0 | 1) => (value: string) => {
      chosen[axis] = Number(value);
      draw(current);
    };
    refill(
      controls,
      choice("Across", options, String(chosen[0]), pick(0)),
      choice("Up", options, String(chosen[1]), pick(1)),
    );
    refill(key, current.task.predicts === "classes" ? classLegend(current.task.classes) : null);
  }

  function draw(current: Asking): void {
    const { task, id, first, second } = current;
    const networks = second ? [first, second] : [first];
    const [a, b] = chosen;
    const d = task.features.length;
    const values = (j: number) => Array.from({ length: task.n }, (_, i) => task.x[i * d + j]);
    const names: [string, string] = [task.features[a].name, task.features[b].name];
    const middle = middleOf(task);
    const held = networks.map((network) => ({ network, ...surfaceFrame(second ? network : "") }));
    if (frames.childElementCount !== networks.length) {
      refill(frames, ...held.map((frame) => frame.element));
    }
    paints = [];
    for (const [i, frame] of held.entries()) {
      const plane = planeOf(names, values(a), values(b), SIZES[frame.network] ?? 24);
      const x = gridOf(plane.size, gridAlong(plane, 0), gridAlong(plane, 1), middle, chosen);
      element.classList.add("stale");
      ask("predict", { network: frame.network, id, x }, `surface ${frame.network}`)
        .then((found) => {
          if (asking?.id !== id || chosen[0] !== a || chosen[1] !== b) return;
          element.classList.remove("stale");
          frames.children[i]?.replaceWith(frame.element);
          const scale = task.predicts === "numbers" ? scaleOf(task) : undefined;
          const outputs = scale ? medians(found.outputs, found.width) : found.outputs;
          const step = Math.max(1, Math.ceil(task.n / MOST_MARKS));
          const rows = Array.from({ length: Math.ceil(task.n / step) }, (_, k) => k * step);
          const marks = {
            x: rows.map((row) => task.x[row * d + a]),
            y: rows.map((row) => task.x[row * d + b]),
            target: rows.map((row) => task.y[row]),
          };
          const label = `${frame.network}'s ${task.target} over ${names[0]} and ${names[1]}`;
          frame.describe(plane, label);
          if (scale) refill(key, numberKey(scale));
          const paint = () => paintSurface(frame.canvas, plane, outputs, marks, scale);
          paints.push(paint);
          paint();
        })
        .catch(current.onerror);
    }
  }

  return {
    element,
    open(current) {
      const isSame = asking?.id === current.id;
      asking = current;
      element.hidden = current.task.features.length < 2;
      if (element.hidden) return;
      if (!isSame) {
        chosen = likelyColumns(current.task);
        ready(current);
      }
      draw(current);
    },
    repaint() {
      for (const paint of paints) paint();
    },
  };
}

/** The two columns that tell the targets apart best, each taken alone. */
function likelyColumns(task: Task): [number, number] {
  const d = task.features.length;
  const scores = task.features.map((feature, j) => {
    const values = Array.from({ length: task.n }, (_, i) => task.x[i * d + j]);
    return feature.isCategory ? 0 : explained(values, task);
  });
  const order = scores.map((_, j) => j).sort((a, b) => scores[b] - scores[a]);
  return [Math.min(order[0], order[1]), Math.max(order[0], order[1])];
}

/** Share of a column's variance between the classes, or shared with the number. */
function explained(values: number[], task: Task): number {
  const rows = values.map((_, i) => i).filter((i) => !Number.isNaN(values[i]));
  const mean = (of: number[]) => of.reduce((a, b) => a + b, 0) / Math.max(1, of.length);
  const all = mean(rows.map((i) => values[i]));
  const total = rows.reduce((sum, i) => sum + (values[i] - all) ** 2, 0) || 1;
  if (task.predicts === "classes") {
    return task.classes.reduce((sum, _, label) => {
      const own = rows.filter((i) => task.y[i] === label).map((i) => values[i]);
      return sum + (own.length * (mean(own) - all) ** 2) / total;
    }, 0);
  }
  const middle = mean(rows.map((i) => task.y[i]));
  const both = rows.reduce((sum, i) => sum + (values[i] - all) * (task.y[i] - middle), 0);
  const spread = rows.reduce((sum, i) => sum + (task.y[i] - middle) ** 2, 0) || 1;
  return (both * both) / (total * spread);
}

function middleOf(task: Task): number[] {
  const d = task.features.length;
  return task.features.map((feature, j) => {
    const values = Array.from({ length: task.n }, (_, i) => task.x[i * d + j])
      .filter((value) => !Number.isNaN(value))
      .sort((a, b) => a - b);
    if (!feature.isCategory) return quantile(values.length > 1 ? values : [values[0], values[0]], 0.5);
    const counts = new Map<number, number>();
    for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
    return [...counts.entries()].sort((a, b) => b[1] - a[1])[0][0];
  });
}

function gridOf(
  size: number,
  across: number[],
  up: number[],
  middle: number[],
  [a, b]: [number, number],
): Float64Array {
  const d = middle.length;
  const x = new Float64Array(size * size * d);
  for (let i = 0; i < size * size; i++) {
    x.set(middle, i * d);
    x[i * d + b] = up[Math.floor(i / size)];
    x[i * d + a] = across[i % size];
  }
  return x;
}

function medians(outputs: Float64Array, width: number): Float64Array {
  return Float64Array.from({ length: outputs.length / width }, (_, i) =>
    quantile(outputs.subarray(i * width, (i + 1) * width), 0.5),
  );
}

function scaleOf(task: Task): Scale {
  const sorted = task.y.slice().sort();
  return { low: quantile(sorted, 0.03), high: quantile(sorted, 0.97) };
}

function numberKey(scale: Scale): HTMLElement {
  const stops = [0, 0.25, 0.5, 0.75, 1].map((share) => css(numberColour(share)));
  return h(
    "div",
    { class: "scale" },
    h("span", {}, short(scale.low)),
    h("i", { style: { background: `linear-gradient(to right, ${stops.join(", ")})` } }),
    h("span", {}, short(scale.high)),
  );
}
