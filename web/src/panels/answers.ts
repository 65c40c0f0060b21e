/** All that is shown of a table: scores, a row to ask about, surface, calibration, importance. */
import type { NetworkName } from "../network/networks";
import type { Task } from "../table/task";
import { HeldOut } from "../worker/jobs";
import { Replaced, ask } from "../worker/client";
import { classScores } from "../analysis/scores";
import { h, refill, card } from "../view/dom";
import { duration } from "../view/words";
import { askCard } from "./ask";
import { calibrationCard } from "./calibration";
import { importanceCard } from "./importance";
import { predictionsCard } from "./predictions";
import { scoreCard } from "./score";
import { surfaceCard } from "./plane";

/** What the cards share: the open task, and the networks that are asked. */
export interface Asking {
  task: Task;
  id: number;
  /** The network that answers, and another one beside it. */
  first: NetworkName;
  second?: NetworkName;
  onerror(error: unknown): void;
}

/** A card of the results, which asks the worker when it is opened. */
export interface Part {
  element: HTMLElement;
  open(asking: Asking): void;
  /** The held-out rows are answered. */
  judged?(asking: Asking, heldOut: HeldOut): void;
  repaint?(): void;
}

const SIDE_BY_SIDE: [number, number] = [300, 150];

export function answersOf(
  results: HTMLElement,
  complain: (message: string) => void,
): {
  open(task: Task, id: number, compares: boolean): void;
  compare(compares: boolean): void;
  close(): void;
  repaint(): void;
} {
  const [score, asked, surface] = [scoreCard(), askCard(), surfaceCard()];
  const [calibration, importance, predictions] = [
    calibrationCard(),
    importanceCard(),
    predictionsCard(),
  ];
  const parts = [score, asked, importance, surface, calibration, predictions];
  const column = h("div", { class: "column" }, asked.element, importance.element);
  const layout = [score, surface, calibration, predictions].map((part) => part.element);
  layout.splice(1, 0, column);
  const besides = card("Side by side", null);
  besides.classList.add("wide");
  const body = h("div", {});
  besides.append(body);
  let asking: Asking | undefined;

  function onerror(error: unknown): void {
    if (error instanceof Replaced) return;
    complain(error instanceof Error ? error.message : String(error));
  }

  function open(task: Task, id: number, compares: boolean): void {
    const ofClasses = task.predicts === "classes";
    asking = {
      task,
      id,
      first: ofClasses ? "tiny" : "nano-numbers",
      second: ofClasses && compares ? "nano" : undefined,
      onerror,
    };
    if (results.childElementCount === 0) refill(results, ...layout);
    for (const part of parts) part.open(asking);
    judge(asking).catch(onerror);
    showBeside(asking);
  }

  async function judge(current: Asking): Promise<void> {
    const isKept = current.first !== "tiny";
    const heldOut = await ask(
      "heldOut",
      { network: current.first, id: current.id, most: isKept ? [300, 200] : undefined },
      "judge",
    );
    if (current !== asking && current.id !== asking?.id) return;
    for (const part of parts) part.judged?.(current, heldOut);
  }

  function showBeside(current: Asking): void {
    if (!current.second) {
      besides.remove();
      return;
    }
    if (!besides.isConnected) results.firstElementChild?.after(besides);
    refill(body, h("p", { class: "waiting" }, "nano is loading and reading the table …"));
    sideBySide(current, body).catch(onerror);
  }

  return {
    open,
    compare(compares) {
      if (asking) open(asking.task, asking.id, compares);
    },
    close() {
      asking = undefined;
      refill(results);
    },
    repaint() {
      for (const part of parts) part.repaint?.();
    },
  };
}

/** Both networks on the same split of the rows. */
async function sideBySide(asking: Asking, body: HTMLElement): Promise<void> {
  const { task, id } = asking;
  const names = [asking.first, asking.second as NetworkName];
  const rows: HTMLElement[] = [];
  let about = "";
  for (const network of names) {
    const lane = `beside ${network}`;
    const found = await ask("heldOut", { network, id, most: SIDE_BY_SIDE }, lane);
    const y = Array.from(found.rows, (row) => task.y[row]);
    const scores = classScores(found.outputs, y, task.classes.length);
    about = `One split: ${found.nContext} rows shown, ${y.length} others asked about.`;
    rows.push(
      h(
        "tr",
        {},
        h("th", { scope: "row" }, h("code", {}, network)),
        h("td", {}, `${(100 * scores.accuracy).toFixed(1)}%`),
        h("td", {}, scores.logLoss.toFixed(3)),
        h("td", {}, scores.calibrationError.toFixed(3)),
        h("td", {}, duration(found.milliseconds.fit)),
        h("td", {}, duration(found.milliseconds.predict / y.length)),
      ),
    );
  }
  const heads = ["", "right", "log-loss", "calibration error", "reading", "a row"];
  refill(
    body,
    h("p", { class: "about" }, about),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "tiny and nano side by side" },
      h(
        "table",
        { class: "grid" },
        h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
        h("tbody", {}, ...rows),
      ),
    ),
  );
}

