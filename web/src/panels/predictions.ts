/** Predictions of the rows whose target is empty, or of another file; else of held-out rows. */
import { argmax, interval, quantile } from "../analysis/scores";
import { PlainError, readCsv, writeCsv } from "../table/csv";
import { Task, askedOf } from "../table/task";
import { ask } from "../worker/client";
import type { HeldOut } from "../worker/jobs";
import { card, h, refill } from "../view/dom";
import { classColour } from "../view/palette";
import { counted, duration, percent, short, whole } from "../view/words";
import type { Asking, Part } from "./answers";

const MOST_SHOWN = 50;

interface Predicted {
  /** Numbers of the rows in their file, from 1. */
  rows: ArrayLike<number>;
  outputs: Float64Array;
  width: number;
  truth?: ArrayLike<number>;
}

export function predictionsCard(): Part {
  const about = h("p", { class: "about", "aria-live": "polite" });
  const progress = h("progress", { max: 1, hidden: true, "aria-label": "Rows predicted" });
  const body = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of predictions" });
  const file = h("input", { type: "file", accept: ".csv,.tsv,.txt,text/csv", class: "unseen" });
  const another = h("label", { class: "button" }, file, "Predict another file");
  const save = h("button", { type: "button", class: "button", disabled: true }, "Save as CSV");
  const element = card("Predictions", null, about, progress, body, h("div", { class: "row" }, another, save));
  let asking: Asking | undefined;
  let last: Predicted | undefined;

  file.addEventListener("change", () => void takeFile());
  save.addEventListener("click", () => {
    if (asking && last) download(asking.task, last);
  });

  async function takeFile(): Promise<void> {
    const chosen = file.files?.[0];
    file.value = "";
    if (!asking || !chosen) return;
    try {
      const words = readCsv(await chosen.text(), chosen.name);
      predict(asking, askedOf(words, asking.task), words.rows.map((_, i) => i + 1), chosen.name);
    } catch (error) {
      if (!(error instanceof PlainError)) throw error;
      asking.onerror(error);
    }
  }

  function predict(current: Asking, x: Float64Array, rows: number[], where: string): void {
    const { id, first, task } = current;
    progress.hidden = false;
    progress.value = 0;
    ask("predict", { network: first, id, x }, "predictions", (share) => (progress.value = share))
      .then((found) => {
        if (asking?.id !== id) return;
        progress.hidden = true;
        const { fit, predict: asked } = found.milliseconds;
        const took = `read in ${duration(fit)}, answered in ${duration(asked)}`;
        refill(
          about,
          `${counted(rows.length, "row")} of ${where}, predicted by ${first} from` +
            ` ${whole(found.nContext)} labelled rows: ${took}.`,
        );
        tell(task, { rows, outputs: found.outputs, width: found.width });
      })
      .catch((error) => {
        progress.hidden = true;
        current.onerror(error);
      });
  }

  function tell(task: Task, predicted: Predicted): void {
    last = predicted;
    save.disabled = false;
    const { rows, outputs, width, truth } = predicted;
    const ofClasses = task.predicts === "classes";
    const n = Math.min(MOST_SHOWN, rows.length);
    const heads = ["row", ...(truth ? ["truth"] : []), ...(ofClasses ? ["predicted", "probabilities"] : ["median", "80% interval"])];
    const lines = Array.from({ length: n }, (_, i) => {
      const row = outputs.subarray(i * width, (i + 1) * width);
      const cells = ofClasses ? classCells(task, row, truth?.[i]) : numberCells(row);
      const told = truth && (ofClasses ? task.classes[truth[i]] : short(truth[i]));
      return h("tr", {}, h("td", { class: "number" }, rows[i]), truth && h("td", {}, told), ...cells);
    });
    const more = rows.length - n;
    refill(
      body,
      h(
        "table",
        { class: "grid" },
        h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
        h("tbody", {}, ...lines),
      ),
      more > 0 && h("p", { class: "about" }, `and ${whole(more)} more; the saved file has them all`),
    );
  }

  return {
    element,
    open(current) {
      const isSame = asking?.id === current.id;
      asking = current;
      if (isSame) return;
      last = undefined;
      save.disabled = true;
      refill(body);
      const { task } = current;
      if (task.askedRows.length > 0) {
        refill(about, `${counted(task.askedRows.length, "row")} without ${task.target} …`);
        predict(current, task.asked, task.askedRows.map((row) => row + 1), task.name);
      } else {
        refill(about, "Held-out rows are predicted …");
      }
    },
    judged({ task }, found: HeldOut) {
      if (task.askedRows.length > 0 || last) return;
      refill(
        about,
        `Every row has a ${task.target}: here is what was said of each while it was held out. Leave` +
          ` some empty, or choose another file, to predict them.`,
      );
      const order = Array.from(found.rows, (_, i) => i).sort((a, b) => found.rows[a] - found.rows[b]);
      const outputs = new Float64Array(found.outputs.length);
      order.forEach((from, to) =>
        outputs.set(found.outputs.subarray(from * found.width, (from + 1) * found.width), to * found.width),
      );
      const rows = order.map((i) => found.rows[i]);
      tell(task, {
        rows: rows.map((row) => row + 1),
        outputs,
        width: found.width,
        truth: rows.map((row) => task.y[row]),
      });
    },
  };
}

function classCells(task: Task, row: Float64Array, truth?: number): HTMLElement[] {
  const best = argmax(row);
  const isWrong = truth !== undefined && truth !== best;
  const parts = task.classes.map((_, c) =>
    h("span", { style: { width: `${100 * row[c]}%`, background: classColour(c) } }),
  );
  const said = task.classes.map((name, c) => `${name} ${percent(row[c])}`).join(", ");
  return [
    h("td", {}, task.classes[best], isWrong && h("span", { class: "wrong" }, " wrong")),
    h(
      "td",
      {},
      h("div", { class: "strip", role: "img", "aria-label": said, title: said }, ...parts),
      h("span", { class: "number" }, percent(row[best])),
    ),
  ];
}

function numberCells(row: Float64Array): HTMLElement[] {
  const [low, high] = interval(row, 0.8);
  return [
    h("td", { class: "number" }, short(quantile(row, 0.5))),
    h("td", { class: "number" }, `${short(low)} to ${short(high)}`),
  ];
}

/** Save all predictions with every digit. */
function download(task: Task, { rows, outputs, width, truth }: Predicted): void {
  const ofClasses = task.predicts === "classes";
  const levels = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95];
  const heads = ofClasses
    ? [task.target, ...task.classes.map((name) => `P(${name})`)]
    : levels.map((level) => (level === 0.5 ? task.target : `${task.target} ${percent(level, 0)}`));
  const lines = Array.from(rows, (number, i) => {
    const row = outputs.subarray(i * width, (i + 1) * width);
    const told = truth ? [ofClasses ? task.classes[truth[i]] : truth[i]] : [];
    const cells = ofClasses
      ? [task.classes[argmax(row)], ...row]
      : levels.map((level) => quantile(row, level));
    return [number, ...told, ...cells];
  });
  const header = ["row", ...(truth ? ["truth"] : []), ...heads];
  const blob = new Blob([writeCsv(header, lines)], { type: "text/csv" });
  const link = h("a", { href: URL.createObjectURL(blob), download: "predictions.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
