/** Which columns the answers depend on: the loss, when the values of one are shuffled. */
import { ask } from "../worker/client";
import type { Importance } from "../worker/jobs";
import { signedBars } from "../view/charts";
import { card, h, refill } from "../view/dom";
import type { Asking, Part } from "./answers";

const MOST_BARS = 12;

export function importanceCard(): Part {
  const about = h("p", { class: "about" });
  const body = h("div", {});
  const element = card("Importance", null, about, body);
  let shown = 0;

  function tell({ task, first }: Asking, found: Importance): void {
    const items = task.features
      .map((feature, j) => ({ name: feature.name, value: found.rise[j], error: found.error[j] }))
      .sort((a, b) => b.value - a.value);
    const unit = task.predicts === "classes" ? "nats" : `units of ${task.target}`;
    const more = items.length - MOST_BARS;
    refill(
      about,
      `How much the loss of ${first} rises (in ${unit}) when a column's values are shuffled among` +
        ` ${found.nRows} held-out rows. The thin line is one standard error.`,
    );
    refill(
      body,
      signedBars(items.slice(0, MOST_BARS), unit),
      more > 0 && h("p", { class: "about" }, `and ${more} columns of less weight`),
    );
  }

  return {
    element,
    open(asking) {
      if (shown === asking.id) return;
      shown = asking.id;
      element.classList.add("stale");
      refill(about, "Columns are shuffled …");
      ask("importance", { network: asking.first, id: asking.id }, "importance")
        .then((found) => {
          if (shown !== asking.id) return;
          element.classList.remove("stale");
          tell(asking, found);
        })
        .catch(asking.onerror);
    },
  };
}
