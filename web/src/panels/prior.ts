/** The tab "Prior": tasks drawn in the browser while sliders move, and what tiny makes of them. */
import { classScores } from "../analysis/scores";
import { DrawnTask, Sliders, drawTask } from "../prior/draw";
import { writeCsv } from "../table/csv";
import type { Shown } from "../worker/jobs";
import { Replaced, ask } from "../worker/client";
import { card, h, refill, slider } from "../view/dom";
import { classColour, isDark, mark } from "../view/palette";
import { classLegend, gridAlong, paintSurface, planeOf, surfaceFrame } from "../view/surface";
import { percent } from "../view/words";

const N_TASKS = 9;
const SIDE = 150;
const GRID = 48;
/** Tables that the worker holds for this tab have numbers of their own. */
let nextTable = 1_000_000;

export function priorPanel(
  panel: HTMLElement,
  complain: (message: string) => void,
  ontake: (text: string, name: string) => void,
): { start(): void; repaint(): void } {
  const sliders: Sliders = { nRows: 200, nColumns: 2, nClasses: 3, depth: 3, slope: 1, noise: 0.03, wrong: 0, direct: 0.3 };
  let seed = 1;
  let tasks: DrawnTask[] = [];
  let chosen = 0;
  let paint = () => {};
  const gallery = h("div", { class: "gallery", role: "group", "aria-label": "Drawn tasks" });
  const frame = surfaceFrame("");
  const about = h("p", { class: "about", "aria-live": "polite" });
  const key = h("div", {});
  const take = h("button", { type: "button", class: "button" }, "Open as a table");
  take.addEventListener("click", () => ontake(csvOf(tasks[chosen]), `task ${seed}-${chosen + 1}.csv`));
  const again = h("button", { type: "button", class: "button strong" }, "Draw others");
  again.addEventListener("click", () => {
    seed++;
    draw();
  });
  const change = (name: keyof Sliders) => (value: number) => {
    sliders[name] = value;
    draw();
  };
  const number = (value: number) => String(value);
  refill(
    panel,
    h(
      "aside",
      { class: "side" },
      h(
        "section",
        { class: "card", "aria-label": "What is drawn" },
        slider("Rows", [40, 400, 20], sliders.nRows, number, change("nRows")),
        slider("Columns", [2, 8, 1], sliders.nColumns, number, change("nColumns")),
        slider("Classes", [2, 6, 1], sliders.nClasses, number, change("nClasses")),
        slider("Direct", [0, 1, 0.1], sliders.direct, (v) => percent(v, 0), change("direct")),
        slider("Layers", [1, 6, 1], sliders.depth, number, change("depth")),
        slider("Steepness", [0.3, 3, 0.1], sliders.slope, (v) => v.toFixed(1), change("slope")),
        slider("Noise", [0, 0.5, 0.01], sliders.noise, (v) => v.toFixed(2), change("noise")),
        slider("Wrong labels", [0, 0.3, 0.01], sliders.wrong, (v) => percent(v, 0), change("wrong")),
        again,
        h(
          "details",
          {},
          h("summary", {}, "What this draws, and what it does not"),
          h(
            "p",
            {},
            "A random perceptron, 24 nodes a layer: every node is one of twelve activations of a weighted sum of the layer before, plus noise. Columns and target are nodes anywhere in it; in the direct tasks the columns are its causes, and the target comes from its last layer. Classes come from cutting the target's node, from bins dealt out, from the largest of random lines or from the nearest of some rows.",
          ),
          h(
            "p",
            {},
            "That is a part of one of the priors that tiny was trained on (",
            h("code", {}, "scm_mlp"),
            "), rewritten for this page with random numbers of its own. It lacks random smooth functions, sparse and blocked weights, categories and missing values, the tree and graph priors, and the filter for tasks that can be learnt: some of these cannot.",
          ),
        ),
      ),
    ),
    h(
      "div",
      { class: "main" },
      h(
        "div",
        { class: "results" },
        card("Nine tasks of the prior", "The first two columns of each. Choose one.", gallery),
        card("What tiny makes of it", about, frame.element, key, h("div", { class: "row" }, take)),
      ),
    ),
  );

  function draw(): void {
    tasks = Array.from({ length: N_TASKS }, (_, i) => drawTask(sliders, seed * 100 + i));
    chosen = Math.min(chosen, N_TASKS - 1);
    const had = gallery.contains(document.activeElement);
    refill(gallery, ...tasks.map(thumbnail));
    if (had) (gallery.children[chosen] as HTMLElement).focus();
    tell();
  }

  function thumbnail(task: DrawnTask, i: number): HTMLElement {
    const canvas = h("canvas", { width: 2 * SIDE, height: 2 * SIDE, "aria-hidden": "true" });
    scatter(canvas, task);
    return h(
      "button",
      {
        type: "button",
        class: "thumb",
        "aria-pressed": i === chosen ? "true" : "false",
        "aria-label": `Task ${i + 1}: ${task.activation}, ${task.rule}`,
        onclick: () => {
          chosen = i;
          [...gallery.children].forEach((child, at) => child.setAttribute("aria-pressed", String(at === i)));
          tell();
        },
      },
      canvas,
    );
  }

  function tell(): void {
    const task = tasks[chosen];
    const { x, y, n, d, nClasses } = task;
    const id = nextTable++;
    const half = Math.floor(n / 2);
    const shown: Shown = {
      id,
      x: x.slice(0, half * d),
      y: y.slice(0, half),
      n: half,
      d,
      isCategory: new Array<boolean>(d).fill(false),
      nClasses,
    };
    const column = (j: number) => Array.from({ length: n }, (_, i) => x[i * d + j]);
    const plane = planeOf(["column 1", "column 2"], column(0), column(1), GRID);
    const grid = new Float64Array(GRID * GRID * d);
    const [across, up] = [gridAlong(plane, 0), gridAlong(plane, 1)];
    for (let i = 0; i < GRID * GRID; i++) {
      grid[i * d] = across[i % GRID];
      grid[i * d + 1] = up[Math.floor(i / GRID)];
    }
    const queries = new Float64Array((n - half) * d + grid.length);
    queries.set(x.subarray(half * d));
    queries.set(grid, (n - half) * d);
    ask("show", { shown }, "show prior")
      .then(() => ask("predict", { network: "tiny", id, x: queries }, "prior"))
      .then(({ outputs }) => {
        const truth = y.subarray(half);
        const heldOut = outputs.subarray(0, (n - half) * nClasses);
        const scores = classScores(heldOut, truth, nClasses);
        refill(
          about,
          `Shown ${half} rows, it is right on ${percent(scores.accuracy)} of the others, log-loss` +
            ` ${scores.logLoss.toFixed(3)} (${scores.baseLogLoss.toFixed(3)} by guessing).` +
            ` Activations: ${task.activation}; classes by ${task.rule}.` +
            (d > 2 ? " In the picture the further columns stay at 0." : ""),
        );
        const surface = outputs.slice((n - half) * nClasses);
        const marks = { x: column(0), y: column(1), target: y };
        frame.describe(plane, `tiny's classes over the first two columns of task ${chosen + 1}`);
        refill(key, classLegend(Array.from({ length: nClasses }, (_, c) => `class ${c + 1}`)));
        paint = () => paintSurface(frame.canvas, plane, surface, marks);
        paint();
      })
      .catch((error) => {
        if (!(error instanceof Replaced)) complain(error.message);
      });
  }

  return {
    start() {
      if (tasks.length === 0) draw();
    },
    repaint() {
      if (tasks.length === 0) return;
      [...gallery.children].forEach((child, i) =>
        scatter(child.querySelector("canvas") as HTMLCanvasElement, tasks[i]),
      );
      paint();
    },
  };
}

/** The first two columns of a task. */
function scatter(canvas: HTMLCanvasElement, task: DrawnTask): void {
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const { x, y, n, d } = task;
  const column = (j: number) => Array.from({ length: n }, (_, i) => x[i * d + j]);
  const plane = planeOf(["", ""], column(0), column(1), 2);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.lineWidth = 1;
  context.strokeStyle = isDark() ? "#181d22" : "#ffffff";
  for (let i = 0; i < n; i++) {
    const place = (axis: 0 | 1) =>
      (x[i * d + axis] - plane.low[axis]) / (plane.high[axis] - plane.low[axis]);
    context.fillStyle = classColour(y[i]);
    mark(context, y[i], place(0) * canvas.width, (1 - place(1)) * canvas.height, 5);
  }
}

function csvOf({ x, y, n, d }: DrawnTask): string {
  const header = [...Array.from({ length: d }, (_, j) => `column ${j + 1}`), "class"];
  const rows = Array.from({ length: n }, (_, i) => [
    ...x.subarray(i * d, (i + 1) * d),
    `class ${y[i] + 1}`,
  ]);
  return writeCsv(header, rows);
}
