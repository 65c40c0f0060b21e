/** What a network believes over two columns, with rows of the table as marks. */
import { h } from "./dom";
import { classColour, css, isDark, mark, mixedColour, numberColour } from "./palette";
import { short } from "./words";

export interface Plane {
  /** Names and ranges of the two columns. */
  names: [string, string];
  low: [number, number];
  high: [number, number];
  /** Grid points along each axis; the first row of outputs is at the bottom. */
  size: number;
}

export interface Marks {
  x: ArrayLike<number>;
  y: ArrayLike<number>;
  target: ArrayLike<number>;
}

export interface Scale {
  low: number;
  high: number;
}

const SIDE = 560;
const EDGE = 6;

/** The values of a plane's grid points along one axis. */
export function gridAlong(plane: Plane, axis: 0 | 1): number[] {
  const { low, high, size } = plane;
  return Array.from(
    { length: size },
    (_, i) => low[axis] + (i / (size - 1)) * (high[axis] - low[axis]),
  );
}

/** A plane around these values, a little wider than them. */
export function planeOf(
  names: [string, string],
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  size: number,
): Plane {
  const range = (values: ArrayLike<number>): [number, number] => {
    const present = Array.from(values).filter((value) => !Number.isNaN(value));
    const low = present.reduce((a, b) => Math.min(a, b), Infinity);
    const high = present.reduce((a, b) => Math.max(a, b), -Infinity);
    const edge = 0.06 * (high - low || 1);
    return [low - edge, high + edge];
  };
  const [a, b] = [range(x), range(y)];
  return { names, low: [a[0], b[0]], high: [a[1], b[1]], size };
}

/** Draw probabilities (size², k), or with a `scale` numbers (size²). */
export function paintSurface(
  canvas: HTMLCanvasElement,
  plane: Plane,
  outputs: Float64Array,
  marks: Marks,
  scale?: Scale,
): void {
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  canvas.width = canvas.height = SIDE;
  const { size } = plane;
  const width = outputs.length / (size * size);
  const dark = isDark();
  const small = document.createElement("canvas");
  small.width = small.height = size;
  const pixels = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    const row = outputs.subarray(i * width, (i + 1) * width);
    const colour = scale
      ? numberColour((row[0] - scale.low) / (scale.high - scale.low))
      : mixedColour(row, dark);
    const at = 4 * ((size - 1 - Math.floor(i / size)) * size + (i % size));
    pixels.data.set([...colour, 255], at);
  }
  small.getContext("2d")?.putImageData(pixels, 0, 0);
  context.imageSmoothingQuality = "high";
  // grid points lie on the edges, pixels inside them
  const step = SIDE / (size - 1);
  context.drawImage(small, -step / 2, -step / 2, size * step, size * step);
  context.lineWidth = 1.5;
  context.strokeStyle = dark ? "#0e1114" : "#ffffff";
  for (let i = 0; i < marks.target.length; i++) {
    const px = ((marks.x[i] - plane.low[0]) / (plane.high[0] - plane.low[0])) * SIDE;
    const py = SIDE - ((marks.y[i] - plane.low[1]) / (plane.high[1] - plane.low[1])) * SIDE;
    if (!(px > -EDGE && px < SIDE + EDGE && py > -EDGE && py < SIDE + EDGE)) continue;
    const target = marks.target[i];
    context.fillStyle = scale
      ? css(numberColour((target - scale.low) / (scale.high - scale.low)))
      : classColour(target);
    mark(context, scale ? 0 : target, px, py, 6);
  }
}

/** A canvas for a surface, with the columns' names and ranges around it. */
export function surfaceFrame(title: string): {
  element: HTMLElement;
  canvas: HTMLCanvasElement;
  describe(plane: Plane, label: string): void;
} {
  const waiting = "A surface that is being computed";
  const size = { width: SIDE, height: SIDE };
  const canvas = h("canvas", { class: "surface", role: "img", "aria-label": waiting, ...size });
  const x = h("div", { class: "x-axis" });
  const y = h("div", { class: "y-axis" });
  const heading = title && h("figcaption", {}, title);
  const element = h("figure", { class: "plane" }, heading, y, canvas, x);
  const describe = (plane: Plane, label: string) => {
    canvas.setAttribute("aria-label", label);
    const axis = (i: 0 | 1) => [
      h("span", {}, short(plane.low[i])),
      h("b", {}, plane.names[i]),
      h("span", {}, short(plane.high[i])),
    ];
    x.replaceChildren(...axis(0));
    y.replaceChildren(...axis(1));
  };
  return { element, canvas, describe };
}

/** Which mark and colour stands for which class. */
export function classLegend(classes: string[]): HTMLElement {
  return h(
    "ul",
    { class: "legend" },
    ...classes.map((name, place) => {
      const canvas = h("canvas", { width: 28, height: 28, "aria-hidden": "true" });
      const context = canvas.getContext("2d");
      if (context) {
        context.fillStyle = classColour(place);
        context.strokeStyle = "transparent";
        mark(context, place, 14, 14, 9);
      }
      return h("li", {}, canvas, name);
    }),
  );
}
