/** A row that a person fills in, and what the networks believe of it. */
import { interval, quantile } from "../analysis/scores";
import type { Feature } from "../table/columns";
import type { Task } from "../table/task";
import { ask } from "../worker/client";
import type { Answers } from "../worker/jobs";
import { probabilityBars } from "../view/charts";
import { card, h, refill } from "../view/dom";
import { short } from "../view/words";
import type { Asking, Part } from "./answers";

const MOST_FIELDS = 12;

export function askCard(): Part {
  const form = h("div", { class: "form" });
  const answer = h("div", { class: "answer", "aria-live": "polite" });
  const another = h("button", { type: "button", class: "quiet" }, "Another row");
  const element = card(
    "Ask about a row",
    "Change a value: the answer follows at once, from all labelled rows.",
    form,
    answer,
    another,
  );
  let asking: Asking | undefined;
  let row = new Float64Array(0);
  let at = 0;

  another.addEventListener("click", () => {
    if (!asking) return;
    at = (at + 37) % asking.task.n;
    fill(asking.task);
    send(asking);
  });

  function fill(task: Task): void {
    const d = task.features.length;
    row = task.x.slice(at * d, (at + 1) * d);
    const fields = task.features.slice(0, MOST_FIELDS).map((feature, j) => field(feature, j, task));
    const more = d - MOST_FIELDS;
    refill(
      form,
      ...fields,
      more > 0 && h("p", { class: "about" }, `and ${more} more columns, as in row ${at + 1}`),
    );
  }

  function field(feature: Feature, j: number, task: Task): HTMLElement {
    const onchange = (value: number) => {
      row[j] = value;
      if (asking) send(asking);
    };
    if (feature.isCategory) {
      const select = h(
        "select",
        { onchange: () => onchange(select.value === "" ? NaN : Number(select.value)) },
        h("option", { value: "" }, "missing"),
        ...feature.categories.map((name, code) =>
          h("option", { value: code, selected: code === row[j] }, name),
        ),
      );
      return h("label", { class: "field" }, h("span", {}, feature.name), select);
    }
    const input = h("input", {
      type: "number",
      step: "any",
      inputmode: "decimal",
      placeholder: "missing",
      value: Number.isNaN(row[j]) ? "" : String(Number(row[j].toPrecision(6))),
    });
    input.step = String(stepOf(task, j));
    input.addEventListener("input", () => onchange(input.value === "" ? NaN : Number(input.value)));
    return h("label", { class: "field" }, h("span", {}, feature.name), input);
  }

  function send(current: Asking): void {
    const { id, first, second } = current;
    const networks = second ? [first, second] : [first];
    const x = row.slice();
    Promise.all(networks.map((network) => ask("predict", { network, id, x }, `ask ${network}`)))
      .then((found) => {
        if (current === asking) tell(current, found);
      })
      .catch(current.onerror);
  }

  function tell({ task, first, second }: Asking, found: Answers[]): void {
    const truth = `Row ${at + 1} of the table says `;
    const said = task.predicts === "classes" ? task.classes[task.y[at]] : short(task.y[at]);
    const note = h("p", { class: "about" }, truth, h("b", {}, said), ", and is among the rows shown.");
    if (task.predicts === "classes") {
      const names = [first, second ?? ""];
      const believed = found.map((one, i) => ({ name: names[i], proba: one.outputs }));
      refill(answer, probabilityBars(task.classes, believed), note);
      return;
    }
    const quantiles = found[0].outputs;
    const [low, high] = interval(quantiles, 0.8);
    refill(
      answer,
      h("p", { class: "big" }, short(quantile(quantiles, 0.5))),
      h("p", {}, `80%: ${short(low)} to ${short(high)}`),
      densityOf(quantiles),
      note,
    );
  }

  return {
    element,
    open(current) {
      const isSame = asking?.id === current.id;
      asking = current;
      if (!isSame) {
        at = Math.floor(current.task.n / 2);
        refill(answer);
        fill(current.task);
      }
      send(current);
    },
  };
}

/** A step that changes a value by about a twentieth of its range. */
function stepOf(task: Task, j: number): number {
  const d = task.features.length;
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < task.n; i++) {
    const value = task.x[i * d + j];
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const range = high - low;
  return range > 0 && Number.isFinite(range) ? 10 ** Math.floor(Math.log10(range / 20)) : 1;
}

/** Where the probability of a number lies: a strip, the denser the darker. */
function densityOf(quantiles: Float64Array): HTMLElement {
  const [low, high] = [quantile(quantiles, 0.01), quantile(quantiles, 0.99)];
  const place = (value: number) => (100 * (value - low)) / (high - low || 1);
  const layers = [0.95, 0.8, 0.5, 0.2].map((size) => {
    const [from, to] = interval(quantiles, size);
    return h("span", { style: { left: `${place(from)}%`, right: `${100 - place(to)}%` } });
  });
  return h(
    "div",
    { class: "density", role: "img", "aria-label": "Intervals of 20, 50, 80 and 95%" },
    ...layers,
    h("i", { style: { left: `${place(quantile(quantiles, 0.5))}%` } }),
    h("small", {}, short(low)),
    h("small", { class: "right" }, short(high)),
  );
}
