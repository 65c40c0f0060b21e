/** The tab "Your table": a table comes in, predictions and what they are worth come out. */
import { PlainError, Words, readCsv } from "../table/csv";
import { Column } from "../table/columns";
import { Task, columnsOf, likelyTarget, naturalKind, taskOf } from "../table/task";
import { SAMPLES } from "../table/samples";
import { Replaced, show } from "../worker/client";
import { choice, h, refill, segments } from "../view/dom";
import { counted } from "../view/words";
import { answersOf } from "./answers";

/** A task that the other tabs may look at. */
export interface Open {
  task: Task;
  id: number;
}

interface State {
  words?: Words;
  columns: Column[];
  target: string;
  predicts: "classes" | "numbers";
  left: Set<string>;
  compares: boolean;
}

const MOST_BYTES = 50 * 2 ** 20;

export function tablePanel(
  panel: HTMLElement,
  onopen: (open: Open) => void,
): { take(text: string, name: string): void; repaint(): void } {
  const state: State = {
    columns: [],
    target: "",
    predicts: "classes",
    left: new Set(),
    compares: false,
  };
  const error = h("div", { class: "error", role: "alert" });
  const told = h("div", { class: "told" });
  const asked = h("div", { class: "stack" });
  const results = h("div", { class: "results", "aria-live": "off" });
  const file = h("input", { type: "file", accept: ".csv,.tsv,.txt,text/csv", class: "unseen" });
  file.addEventListener("change", () => void takeFile(file.files?.[0]));
  const drop = h(
    "label",
    { class: "drop" },
    file,
    h("strong", {}, "Drop a CSV file here"),
    h("span", {}, "or choose one. It stays in this tab."),
  );
  const answers = answersOf(results, (message) => refill(error, message));
  refill(
    panel,
    h(
      "aside",
      { class: "side" },
      h("section", { class: "card", "aria-label": "Data" }, drop, samplesRow(), told, asked),
    ),
    h("div", { class: "main" }, error, results),
  );
  listenForDrops(panel, drop, (dropped) => void takeFile(dropped));

  function samplesRow(): HTMLElement {
    const buttons = Object.keys(SAMPLES).map((name) =>
      h("button", { type: "button", class: "chip", onclick: () => void takeSample(name) }, name),
    );
    return h("div", { class: "samples" }, h("span", {}, "Samples"), ...buttons);
  }

  async function takeSample(name: string): Promise<void> {
    const answer = await fetch(`samples/${SAMPLES[name].file}`);
    take(await answer.text(), SAMPLES[name].file);
  }

  async function takeFile(chosen: File | undefined): Promise<void> {
    if (!chosen) return;
    if (chosen.size > MOST_BYTES) {
      refill(error, `${chosen.name} is larger than 50 MB. Choose a part of its rows.`);
      return;
    }
    take(await chosen.text(), chosen.name);
    file.value = "";
  }

  function take(text: string, name: string): void {
    plainly(() => {
      const words = readCsv(text, name);
      state.words = words;
      state.columns = columnsOf(words);
      state.left = new Set();
      aim(likelyTarget(state.columns));
    });
  }

  function aim(target: string): void {
    state.target = target;
    const column = state.columns.find((one) => one.name === target) as Column;
    state.predicts = naturalKind(column);
    open();
  }

  /** Make the task, hand it to the worker, and ask for all that the page shows. */
  function open(): void {
    ask();
    plainly(() => {
      const { words, columns, target, predicts, left } = state;
      const task = taskOf(words as Words, columns, target, predicts, left);
      const id = show(task);
      tell(task.notes);
      onopen({ task, id });
      answers.open(task, id, state.compares);
    });
  }

  /** Run, and say in plain words what is wrong with the table. */
  function plainly(run: () => void): void {
    refill(error);
    try {
      run();
    } catch (problem) {
      if (problem instanceof Replaced) return;
      if (!(problem instanceof PlainError)) throw problem;
      tell([]);
      answers.close();
      refill(error, problem.message);
    }
  }

  function tell(notes: string[]): void {
    const words = state.words as Words;
    refill(
      told,
      h(
        "p",
        { class: "file" },
        h("strong", {}, words.name),
        ` ${counted(words.rows.length, "row")}, ${counted(words.header.length, "column")}`,
      ),
      notes.length > 0 && h("ul", { class: "notes" }, ...notes.map((note) => h("li", {}, note))),
    );
  }

  function ask(): void {
    const { columns, target, predicts, left } = state;
    const column = columns.find((one) => one.name === target);
    const options = columns.map(({ name }) => ({ value: name, text: name }));
    refill(
      asked,
      choice("Predict", options, target, aim),
      column?.kind === "numbers" &&
        segments(
          "as",
          [
            { value: "classes", text: "a class" },
            { value: "numbers", text: "a number" },
          ],
          predicts,
          (chosen) => {
            state.predicts = chosen as State["predicts"];
            open();
          },
        ),
      h(
        "details",
        { class: "columns" },
        h("summary", {}, `From ${columns.length - 1 - left.size} other columns`),
        ...columns.filter((one) => one.name !== target).map(columnBox),
      ),
      predicts === "classes" && compareBox(),
    );
  }

  function columnBox(column: Column): HTMLElement {
    const onchange = (event: Event) => {
      if ((event.target as HTMLInputElement).checked) state.left.delete(column.name);
      else state.left.add(column.name);
      const wasOpen = (asked.querySelector("details.columns") as HTMLDetailsElement).open;
      open();
      const details = asked.querySelector("details.columns") as HTMLDetailsElement;
      details.open = wasOpen;
      details.querySelector<HTMLInputElement>(`input[value="${CSS.escape(column.name)}"]`)?.focus();
    };
    return h(
      "label",
      { class: "box" },
      h("input", {
        type: "checkbox",
        value: column.name,
        checked: !state.left.has(column.name),
        onchange,
      }),
      h("span", {}, column.name),
      h("span", { class: "faint" }, column.kind),
    );
  }

  function compareBox(): HTMLElement {
    const onchange = (event: Event) => {
      state.compares = (event.target as HTMLInputElement).checked;
      answers.compare(state.compares);
    };
    return h(
      "label",
      { class: "box switch" },
      h("input", { type: "checkbox", checked: state.compares, onchange }),
      h(
        "span",
        {},
        "Ask ",
        h("code", {}, "nano"),
        ", too",
        h("small", {}, "16 times the parameters; loads 250 KB once"),
      ),
    );
  }

  return { take, repaint: answers.repaint };
}

/** Files may be dropped anywhere on the panel. */
function listenForDrops(
  panel: HTMLElement,
  drop: HTMLElement,
  ontake: (file: File | undefined) => void,
): void {
  for (const name of ["dragenter", "dragover"]) {
    panel.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  panel.addEventListener("dragleave", () => drop.classList.remove("over"));
  panel.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    ontake((event as DragEvent).dataTransfer?.files[0]);
  });
}

