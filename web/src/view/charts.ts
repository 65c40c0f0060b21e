/** Pictures of lines and bars. */
import { s, h } from "./dom";
import { classColour } from "./palette";
import { percent, short } from "./words";

/** Bars of probabilities, one line a class; a second network's below its own. */
export function probabilityBars(
  classes: string[],
  believed: { name: string; proba: ArrayLike<number> }[],
): HTMLElement {
  const rows = classes.flatMap((label, c) =>
    believed.map(({ name, proba }, i) =>
      h(
        "tr",
        { class: i > 0 ? "second" : undefined },
        h("th", { scope: "row" }, i === 0 ? label : h("span", { class: "faint" }, name)),
        h(
          "td",
          { class: "bar" },
          h("span", {
            style: { width: `${100 * proba[c]}%`, background: classColour(c) },
            class: i > 0 ? "thin" : undefined,
          }),
        ),
        h("td", { class: "number" }, percent(proba[c])),
      ),
    ),
  );
  const names = believed.map((one) => one.name).join(" and ");
  return h(
    "table",
    { class: "bars" },
    h("caption", { class: "unseen" }, `Probability of each class by ${names}`),
    h("tbody", {}, ...rows),
  );
}

/** Horizontal bars with an error line each; names at the left. */
export function signedBars(
  items: { name: string; value: number; error: number }[],
  unit: string,
): HTMLElement {
  const most = Math.max(1e-9, ...items.map((item) => item.value + item.error));
  const digits = Math.max(0, 2 - Math.floor(Math.log10(most)));
  return h(
    "table",
    { class: "bars" },
    h("caption", { class: "unseen" }, `Rise of the loss per column, in ${unit}`),
    h(
      "tbody",
      {},
      ...items.map(({ name, value, error }) => {
        const share = (x: number) => `${Math.max(0, Math.min(100, (100 * x) / most))}%`;
        return h(
          "tr",
          {},
          h("th", { scope: "row" }, name),
          h(
            "td",
            { class: "bar" },
            h("span", { class: "plain", style: { width: share(value) } }),
            h("i", { style: { left: share(value - error), right: `calc(100% - ${share(value + error)})` } }),
          ),
          h("td", { class: "number" }, value.toFixed(Math.min(6, digits))),
        );
      }),
    ),
  );
}

export interface Line {
  name: string;
  points: { x: number; y: number; size?: number }[];
  colour?: string;
  dashed?: boolean;
  dots?: boolean;
}

export interface Axes {
  x: [number, number];
  y: [number, number];
  xLabel: string;
  yLabel: string;
  xText?: (value: number) => string;
  yText?: (value: number) => string;
  label: string;
  square?: boolean;
}

/** A picture of lines with axes; `label` says in words what it shows. */
export function lineChart(lines: Line[], axes: Axes): SVGElement {
  const [width, height] = axes.square ? [320, 300] : [420, 230];
  const [left, right, top, bottom] = [48, 20, 10, 40];
  const px = (x: number) =>
    left + ((x - axes.x[0]) / (axes.x[1] - axes.x[0] || 1)) * (width - left - right);
  const py = (y: number) =>
    height - bottom - ((y - axes.y[0]) / (axes.y[1] - axes.y[0] || 1)) * (height - top - bottom);
  const xText = axes.xText ?? short;
  const yText = axes.yText ?? short;
  const ticks = ([low, high]: [number, number]) =>
    [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (high - low));
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": axes.label, class: "chart" },
    ...ticks(axes.x).map((x) =>
      s(
        "g",
        {},
        s("line", { x1: px(x), x2: px(x), y1: top, y2: height - bottom, class: "grid" }),
        s("text", { x: px(x), y: height - bottom + 15, "text-anchor": "middle" }, xText(x)),
      ),
    ),
    ...ticks(axes.y).map((y) =>
      s(
        "g",
        {},
        s("line", { x1: left, x2: width - right, y1: py(y), y2: py(y), class: "grid" }),
        s("text", { x: left - 6, y: py(y) + 3.5, "text-anchor": "end" }, yText(y)),
      ),
    ),
    s("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle", class: "axis" }, axes.xLabel),
    s(
      "text",
      { transform: `translate(11 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "axis" },
      axes.yLabel,
    ),
    ...lines.map((line) => lineOf(line, px, py)),
  );
}

function lineOf(line: Line, px: (x: number) => number, py: (y: number) => number): SVGElement {
  const path = line.points
    .map(({ x, y }, i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`)
    .join("");
  const colour = line.colour ?? "var(--accent)";
  return s(
    "g",
    { style: { color: colour } },
    s("path", { d: path, class: line.dashed ? "line dashed" : "line" }),
    ...(line.dots
      ? line.points.map(({ x, y, size }) =>
          s("circle", { cx: px(x), cy: py(y), r: 3 + 5 * Math.sqrt(size ?? 0), class: "dot" }),
        )
      : []),
  );
}

/** The colours and names of lines. */
export function legend(lines: { name: string; colour: string; dashed?: boolean }[]): HTMLElement {
  return h(
    "ul",
    { class: "legend" },
    ...lines.map(({ name, colour, dashed }) =>
      h(
        "li",
        {},
        h("span", { class: dashed ? "swatch dashed" : "swatch", style: { color: colour } }),
        name,
      ),
    ),
  );
}
