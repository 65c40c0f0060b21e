/** The tab "On the chip": what the exported library needs, and rows streamed into its state. */
import { Backend, Budgets, Need, need } from "../chip/budget";
import type { Task } from "../table/task";
import { card, choice, h, refill, segments, slider } from "../view/dom";
import { percent, whole } from "../view/words";
import { streamCard } from "./stream";
import type { Open } from "./table";

const MOST_FEATURES = 64;

export function chipPanel(
  panel: HTMLElement,
  complain: (message: string) => void,
): { open(open: Open): void; repaint(): void } {
  const state = { backend: "f32" as Backend, chip: "nrf52840", rows: 50, features: 4, classes: 3 };
  const side = h("section", { class: "card", "aria-label": "Library and table" });
  const body = h("div", {});
  const budgetCard = card(
    "What it needs",
    h("span", {}, "The library that ", h("code", {}, "openpfn export c tiny"), " writes: weights, context and scratch memory exactly, code and stack at most."),
    body,
  );
  const stream = streamCard(complain);
  const about = h("p", { class: "about" });
  refill(
    panel,
    h("aside", { class: "side" }, side),
    h("div", { class: "main" }, h("div", { class: "results" }, budgetCard, ...stream.elements)),
  );
  let budgets: Budgets | undefined;
  let opened: Open | undefined;

  fetch("budgets.json")
    .then((answer) => answer.json())
    .then((found: Budgets) => {
      budgets = found;
      ask();
      tell();
    })
    .catch((error) => complain(`The figures of the chips could not be loaded: ${error.message}`));

  function ask(): void {
    if (!budgets) return;
    const { chips } = budgets;
    const change = (name: "rows" | "features" | "classes") => (value: number) => {
      state[name] = value;
      tell();
    };
    refill(
      side,
      segments(
        "Arithmetic",
        [
          { value: "f32", text: "floats" },
          { value: "int8", text: "8-bit" },
          { value: "int", text: "integers" },
        ],
        state.backend,
        (value) => {
          state.backend = value as Backend;
          tell();
          stream.backend(state.backend);
        },
      ),
      choice(
        "Chip",
        Object.entries(chips).map(([value, { ram, fpu }]) => ({
          value,
          text: `${value} (${ram / 1024} KB RAM${fpu ? ", FPU" : ""})`,
        })),
        state.chip,
        (value) => {
          state.chip = value;
          tell();
        },
      ),
      slider("Columns", [1, MOST_FEATURES, 1], state.features, whole, change("features")),
      slider("Classes", [2, 10, 1], state.classes, whole, change("classes")),
      slider("Context rows", [5, 1000, 5], state.rows, whole, change("rows")),
      about,
    );
  }

  function tell(): void {
    if (!budgets) return;
    const { backend, rows, features, classes } = state;
    const chip = budgets.chips[state.chip];
    const needed = need(budgets, backend, [rows, features, classes], chip.fpu);
    const fits = needed.flash <= chip.flash && needed.ram <= chip.ram;
    refill(
      body,
      h(
        "p",
        { class: fits ? "verdict" : "verdict no" },
        fits ? `Fits ${state.chip}.` : `Does not fit ${state.chip}.`,
      ),
      meter("Flash", chip.flash, [
        ["weights", needed.weights],
        ["code", needed.code],
      ]),
      meter("RAM", chip.ram, [
        ["context", needed.context],
        ["scratch", needed.scratch],
        ["stack", needed.stack],
      ]),
      workTable(needed, rows),
      h(
        "p",
        { class: "about" },
        `Raw rows need not be kept: they would take ${whole(needed.rowBytes)} bytes more. `,
        h("code", {}, `openpfn export budget tiny --rows ${rows} --features ${features} --classes ${classes}`),
      ),
    );
  }

  return {
    open(open) {
      if (open.task.predicts === "numbers") {
        refill(about, `The C library tells classes apart; ${open.task.target} is a number.`);
        return;
      }
      refill(about);
      opened = open;
      state.features = open.task.features.length;
      state.classes = open.task.classes.length;
      state.rows = Math.min(1000, shownRows(open.task));
      ask();
      tell();
      stream.open(open);
    },
    repaint() {
      if (opened) stream.repaint();
    },
  };
}

function shownRows(task: Task): number {
  return Math.max(5, 5 * Math.round(Math.min(50, 0.7 * task.n) / 5));
}

/** Parts of a memory, as shares of what the chip has. */
function meter(name: string, has: number, parts: [string, number][]): HTMLElement {
  const total = parts.reduce((sum, [, size]) => sum + size, 0);
  const scale = Math.max(has, total);
  const label = `${whole(total)} of ${whole(has)} bytes`;
  return h(
    "div",
    { class: "meter" },
    h("h3", {}, name, h("span", {}, label, h("b", {}, ` ${percent(total / has)}`))),
    h(
      "div",
      { class: "strip", role: "img", "aria-label": `${name}: ${label}` },
      ...parts.map(([part, size], i) =>
        h("span", { class: `part-${i}`, style: { width: `${(100 * size) / scale}%` }, title: part }),
      ),
    ),
    h(
      "ul",
      { class: "legend" },
      ...parts.map(([part, size], i) =>
        h("li", {}, h("span", { class: `swatch part-${i}` }), `${part} ${whole(size)}`),
      ),
    ),
  );
}

function workTable(needed: Need, rows: number): HTMLElement {
  const line = (name: string, count: number) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      h("td", { class: "number" }, `${instructions(count)} instructions`),
      h("td", { class: "number" }, `${seconds(count / 64e6)} at 64 MHz`),
    );
  return h(
    "table",
    { class: "grid work" },
    h("caption", { class: "unseen" }, "Work of the library, within a factor of 2"),
    h(
      "tbody",
      {},
      line(`fit ${whole(rows)} rows`, needed.fitInstructions),
      line("predict a row", needed.predictInstructions),
    ),
  );
}

function instructions(count: number): string {
  return count < 1e6 ? `${Number((count / 1e3).toPrecision(2))} k` : `${whole(Number((count / 1e6).toPrecision(2)))} M`;
}

function seconds(count: number): string {
  return count < 1 ? `${Number((1000 * count).toPrecision(2))} ms` : `${Number(count.toPrecision(2))} s`;
}

