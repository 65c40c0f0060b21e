/** Rows streamed into the exported library, and its state while it learns. */
import { classScores } from "../analysis/scores";
import type { Backend } from "../chip/budget";
import type { NetworkName } from "../network/networks";
import { Random } from "../prior/random";
import type { StateOf } from "../worker/jobs";
import { Replaced, ask } from "../worker/client";
import { legend, lineChart, probabilityBars } from "../view/charts";
import { card, h, refill } from "../view/dom";
import { paintStates } from "../view/states";
import { duration, percent, whole } from "../view/words";
import type { Open } from "./table";

const MODULES: Record<Backend, NetworkName> = { f32: "tiny", int8: "tiny-int8", int: "tiny-int" };
const MOST_STREAMED = 120;
const MOST_HELD_OUT = 100;
const PAUSE_MS = 120;

interface Step {
  n: number;
  accuracy: number;
  logLoss: number;
}

export function streamCard(complain: (message: string) => void): {
  elements: HTMLElement[];
  open(open: Open): void;
  backend(backend: Backend): void;
  repaint(): void;
} {
  const play = h("button", { type: "button", class: "button strong" }, "Stream rows in");
  const step = h("button", { type: "button", class: "button" }, "One row");
  const reset = h("button", { type: "button", class: "button" }, "Forget");
  const shown = h("input", { type: "range", min: 1, max: 10, value: 1, "aria-label": "Rows shown" });
  const count = h("output", { class: "count" });
  const canvas = h("canvas", { class: "states", role: "img", "aria-label": "State before any row" });
  const about = h("p", { class: "about" });
  const bytesLine = h("p", { class: "about", "aria-live": "off" });
  const stateCard = card(
    "Its state learns",
    "Each block is what one column's attention keeps in one layer (four heads of 4 × 4 numbers); the last column is the target. Its size never changes.",
    h("div", { class: "row" }, play, step, reset, count, h("label", { class: "grow" }, shown)),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "State" }, canvas),
    bytesLine,
  );
  const curve = h("div", {});
  const curveCard = card("What it has learnt", about, curve);
  const bars = h("div", {});
  const rowCard = card("One row it has not seen", null, bars);

  let opened: Open | undefined;
  let backend: Backend = "f32";
  let order = new Int32Array(0);
  let heldOut: number[] = [];
  let steps: Step[] = [];
  let at = 1;
  let playing = false;
  let last: StateOf | undefined;

  play.addEventListener("click", () => (playing ? stop() : void run()));
  step.addEventListener("click", () => void move(at + 1));
  reset.addEventListener("click", () => {
    stop();
    steps = [];
    void move(1);
  });
  shown.addEventListener("input", () => {
    stop();
    void move(shown.valueAsNumber);
  });

  function stop(): void {
    playing = false;
    play.textContent = "Stream rows in";
  }

  async function run(): Promise<void> {
    playing = true;
    play.textContent = "Pause";
    if (at >= order.length) {
      steps = [];
      at = 0;
    }
    while (playing && at < order.length) {
      const started = performance.now();
      await move(at + 1);
      const left = PAUSE_MS - (performance.now() - started);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, left)));
    }
    stop();
  }

  async function move(to: number): Promise<void> {
    if (!opened) return;
    at = Math.max(1, Math.min(order.length, to));
    shown.value = String(at);
    const { task, id } = opened;
    const d = task.features.length;
    const x = new Float64Array(heldOut.length * d);
    heldOut.forEach((row, i) => x.set(task.x.subarray(row * d, (row + 1) * d), i * d));
    try {
      const takes = { network: MODULES[backend], id, order, nContext: at, x };
      tell(await ask("state", takes, "state"));
    } catch (error) {
      if (error instanceof Replaced) return;
      stop();
      complain(error instanceof Error ? error.message : String(error));
    }
  }

  function tell(found: StateOf): void {
    if (!opened) return;
    last = found;
    const { task } = opened;
    const { answers } = found;
    const n = answers.nContext;
    const y = heldOut.map((row) => task.y[row]);
    const { accuracy, logLoss } = classScores(answers.outputs, y, task.classes.length);
    steps = [...steps.filter((one) => one.n !== n), { n, accuracy, logLoss }].sort((a, b) => a.n - b.n);
    count.textContent = `${n} of ${order.length} rows`;
    paint(found);
    refill(
      bytesLine,
      h("b", {}, `${whole(found.bytes.length)} bytes of state`),
      ` after ${n} rows, and after 10,000. Fitted in ${duration(answers.milliseconds.fit)} here.`,
    );
    refill(about, `${y.length} rows stay unseen: now ${percent(accuracy)} right, log-loss ${logLoss.toFixed(3)}.`);
    drawCurve();
    const said = task.classes[task.y[heldOut[0]]];
    refill(
      bars,
      h("p", { class: "about" }, `Row ${heldOut[0] + 1}, which is `, h("b", {}, said), "."),
      probabilityBars(task.classes, [{ name: MODULES[backend], proba: answers.outputs.subarray(0, task.classes.length) }]),
    );
  }

  function paint(found: StateOf): void {
    paintStates(canvas, found, backend === "int");
    canvas.setAttribute(
      "aria-label",
      `State of ${found.nLayers} layers and ${found.nColumns + 1} columns after ${found.answers.nContext} rows`,
    );
  }

  function drawCurve(): void {
    const highest = Math.ceil(10 * Math.max(...steps.map((one) => one.logLoss))) / 10;
    const line = (of: (one: Step) => number) => steps.map((one) => ({ x: one.n, y: of(one) }));
    const right = { name: "share right", points: line((one) => one.accuracy), colour: "var(--accent)" };
    const loss = {
      name: `log-loss, of ${highest.toFixed(1)}`,
      points: line((one) => one.logLoss / highest),
      colour: "var(--second)",
      dashed: true,
    };
    const lastStep = steps[steps.length - 1];
    refill(
      curve,
      lineChart([right, loss], {
        x: [0, order.length],
        y: [0, 1],
        xLabel: "rows shown",
        yLabel: "unseen rows",
        xText: (value) => String(Math.round(value)),
        yText: (value) => percent(value, 0),
        label: `Share right and log-loss by rows shown; at ${lastStep.n} rows ${percent(lastStep.accuracy)} right`,
      }),
      legend([right, loss]),
    );
  }

  return {
    elements: [stateCard, curveCard, rowCard],
    open(open) {
      stop();
      opened = open;
      const rows = new Random(3).permutation(open.task.n);
      const nHeldOut = Math.max(2, Math.min(MOST_HELD_OUT, Math.round(0.3 * open.task.n)));
      heldOut = rows.slice(0, nHeldOut);
      order = Int32Array.from(classesFirst(rows.slice(nHeldOut), open.task.y).slice(0, MOST_STREAMED));
      shown.max = String(order.length);
      steps = [];
      void move(Math.min(8, order.length));
    },
    backend(chosen) {
      backend = chosen;
      steps = [];
      void move(at);
    },
    repaint() {
      if (last) paint(last);
    },
  };
}

/** The same rows, one of each class in front: a class that has no row yet gets probability 0. */
function classesFirst(rows: number[], y: ArrayLike<number>): number[] {
  const isFirst = rows.map((row, i) => rows.findIndex((other) => y[other] === y[row]) === i);
  return [...rows.filter((_, i) => isFirst[i]), ...rows.filter((_, i) => !isFirst[i])];
}
