/** The headline: how good the answers are on rows that the network had not seen. */
import { classScores, numberScores } from "../analysis/scores";
import { h, refill } from "../view/dom";
import { counted, duration, percent, short } from "../view/words";
import type { Part } from "./answers";

export function scoreCard(): Part {
  const figures = h("dl", { class: "figures" });
  const about = h("p", { class: "about" });
  const element = h("section", { class: "card wide score", "aria-label": "Score" }, figures, about);

  return {
    element,
    open({ first }) {
      element.classList.add("stale");
      const loads = first === "tiny" ? "" : " loads (290 KB, once) and";
      refill(about, `${first}${loads} answers rows that are held out …`);
    },
    judged({ task, first }, found) {
      element.classList.remove("stale");
      const y = Array.from(found.rows, (row) => task.y[row]);
      const { fit, predict } = found.milliseconds;
      const rows = counted(y.length, "row");
      const way =
        found.nFits > 1
          ? `${rows} in ${found.nFits} folds, each predicted from the other folds`
          : `${rows} predicted from ${counted(found.nContext, "other")}`;
      if (task.predicts === "classes") {
        const scores = classScores(found.outputs, y, task.classes.length);
        refill(
          figures,
          figure("Right", percent(scores.accuracy), "of the held-out rows"),
          figure("Log-loss", scores.logLoss.toFixed(3), `${scores.baseLogLoss.toFixed(3)} by guessing`),
          figure("Calibration error", percent(scores.calibrationError), "confidence against truth"),
          figure("One prediction", duration(predict / y.length), `after reading for ${duration(fit / found.nFits)}`),
        );
      } else {
        const scores = numberScores(found.outputs, y, found.width);
        const inside = scores.coverage.find(({ wanted }) => wanted === 0.8);
        refill(
          figures,
          figure("R²", scores.r2.toFixed(3), "of the variance explained"),
          figure("Typical error", short(scores.rmse), "root mean square"),
          figure("80% intervals", percent(inside?.got ?? 0, 0), "of the truth inside"),
          figure("One prediction", duration(predict / y.length), `after reading for ${duration(fit / found.nFits)}`),
        );
      }
      refill(about, h("code", {}, first), ` was trained on synthetic tables alone. Here: ${way}.`);
    },
  };
}

function figure(name: string, value: string, note: string): HTMLElement {
  return h("div", {}, h("dt", {}, name), h("dd", {}, h("strong", {}, value), h("span", {}, note)));
}
